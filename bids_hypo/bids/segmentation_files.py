"""Reading the segmentation of a scan by what its numbers mean: told, recorded beside it, or a program's own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bids_hypo.bids.entities import PLAIN_SUFFIX, split_name
from bids_hypo.bids.names import OWN_SPACE, TABLE_DESC
from bids_hypo.bids.segmentations import SegmentationFiles
from bids_hypo.bids.sidecars import read_record, read_structures
from bids_hypo.errors import ScanReadError
from bids_hypo.files import DAMAGED
from bids_hypo.image.label_numbers import Labels, Wanted
from bids_hypo.image.parts import Parts
from bids_hypo.image.segmentation import read_parts
from bids_hypo.structures import BOTH, Structure


def read_segmentation(files: SegmentationFiles, wanted: Wanted, labels: Labels | None = None) -> Parts:
    """Read a structure from the files of a scan.

    Parameters
    ----------
    files : SegmentationFiles
    wanted : Wanted
    labels : Labels, optional
        What the numbers mean. If not told: what this program recorded beside an image of its own; then what another
        program is known to write where the image lies; then what `bids_hypo.image.segmentation.read_parts` recognises.

    Returns
    -------
    Parts

    Raises
    ------
    ScanReadError
        If a file cannot be read, or its numbers are not known.
    """
    if labels is None and BOTH in files.paths:
        recorded = recorded_structure(files.paths[BOTH], wanted.name)
        if recorded is not None:
            wanted = Wanted(wanted.name, recorded)
            labels = Labels.of_structure(recorded) if files.kind == "dseg" else None
        elif files.tool is not None:
            labels = wanted.presets[files.tool]
    return read_parts(files.paths, files.kind, labels, wanted)


def recorded_structure(image: Path, name: str) -> Structure | None:
    """What the table of volumes beside an image of this program says of a structure; None if there is no such table.

    Raises
    ------
    ScanReadError
        If the record is damaged.
    """
    for path in _records(image):
        try:
            found = read_structures(read_record(path)).get(name)
        except DAMAGED as error:
            raise ScanReadError(f"{path}: does not say what the labels in {image.name} mean ({error}).") from error
        if found is not None:
            return found
    return None


def _records(image: Path) -> Iterable[Path]:
    """The JSON of the tables of the scan that an image belongs to."""
    own = _of_scan(image)
    for path in sorted(image.parent.glob(f"*{TABLE_DESC}_morph.json")):
        if own is not None and _of_scan(path) == own:
            yield path


def _of_scan(path: Path) -> dict[str, str] | None:
    """The entities that all derivatives of a scan share; None if the name has none."""
    try:
        entities, _, _ = split_name(path.name)
    except ValueError:
        return None
    space = entities.get("space", OWN_SPACE)
    kept = {k: v for k, v in entities.items() if k not in ("seg", "label", "desc", "space")}
    return {**kept, "space": OWN_SPACE if space == PLAIN_SUFFIX else space}

"""Masks that a person corrected: taken in place of the automatic ones, and the volumes counted again."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_hypo.bids.checksums import checksums, sha256_of
from bids_hypo.bids.dataset import write_tsv
from bids_hypo.bids.entities import DERIVATIVE_ENTITIES, split_name
from bids_hypo.bids.links import check_writes_stay
from bids_hypo.bids.names import OutputNames, sidecar
from bids_hypo.bids.reading import read_scan
from bids_hypo.bids.resume import recorded_items, source_change
from bids_hypo.bids.sidecars import edited_sidecar, read_head_axes, read_record, read_structures, write_json
from bids_hypo.bids.tables import morph_numbers
from bids_hypo.ending import unless_ending
from bids_hypo.errors import ScanReadError
from bids_hypo.image.drawn import read_drawn
from bids_hypo.image.volume import Volume, read_labels
from bids_hypo.structures import ICV, Structure
from bids_hypo.workflow.recount import automatic_values, count_icv, count_structure, restore_values

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Counted:
    """The masks that the table of a scan was counted in.

    Attributes
    ----------
    labels : dict of str to (Structure, (X, Y, Z) int)
        Of each structure: what it is, and its parts by their numbers.
    icv : (X, Y, Z) bool or None
        None where it is not measured.
    """

    labels: dict[str, tuple[Structure, np.ndarray]]
    icv: np.ndarray | None


def take_edited(names: OutputNames) -> bool:
    """Count the volumes of a finished scan in its corrected masks, and write table and sidecars; no network runs.

    What is not corrected keeps its automatic value. A correction that was taken away again is undone.

    Parameters
    ----------
    names : OutputNames
        Of a scan whose outputs are complete.

    Returns
    -------
    bool
        Whether the table has changed; False if these corrections were taken in before, or there are none.

    Raises
    ------
    ScanReadError
        If a corrected mask lies on another grid, holds other labels or is empty.
    CannotCreateError
        If the folder leads out of the output folder by a link.
    OSError, ValueError
        If the outputs of the scan are damaged.
    """
    check_writes_stay(names.anat_dir, names.output_dir)
    record = read_record(sidecar(names.morph))
    _warn_of_near_names(names)
    state = _state(names)
    if state == record.get("Edited", {}):
        return False
    table = morph_numbers(names.morph)
    automatic = automatic_values(table, record.get("Automatic") or [])
    restore_values(table, automatic, names)
    structures = read_structures(record)
    for item in state:
        if item == ICV:
            count_icv(table, read_edited_icv(names), names)
        else:
            count_structure(table, read_edited_labels(names, structures[item]), structures[item], names)
    _write(names, table, record, state, automatic)
    counted = ", ".join(entry["File"] for entry in state.values()) or "its automatic masks again"
    logger.info("%s: volumes counted in %s", names.scan.name, counted)
    return True


def read_counted(names: OutputNames) -> tuple[Volume, Counted, np.ndarray | None]:
    """What figures of a finished scan are drawn from.

    Parameters
    ----------
    names : OutputNames

    Returns
    -------
    volume : Volume
        The scan.
    counted : Counted
    axes : (3, 3) float or None
        Directions of the head, see `bids_hypo.bids.sidecars.image_record`.

    Raises
    ------
    ScanReadError
        If the scan, or a corrected mask, is not the one that was measured.
    OSError, ValueError
        If a file is absent or damaged.
    """
    record = read_record(sidecar(names.morph))
    changed = source_change(names, record)
    if changed:
        raise ScanReadError(f"{changed}. Run participant level again to measure it anew.")
    return read_scan(names.scan), counted_masks(names), read_head_axes(record)


def counted_masks(names: OutputNames) -> Counted:
    """The masks that the table of a scan was counted in: those of everything on record."""
    record = read_record(sidecar(names.morph))
    edited, now = record.get("Edited", {}), _state(names)
    for key, entry in edited.items():
        if now.get(key) != entry:
            raise ScanReadError(
                f"{names.anat_dir / entry['File']}: is gone, or was changed after the volumes were counted in it. "
                "Run participant level with --use-edited to count them again."
            )
    labels = {
        name: (one, read_edited_labels(names, one) if name in edited else read_labels(names.structure(name).dseg))
        for name, one in read_structures(record).items()
    }
    if ICV not in record:
        return Counted(labels, None)
    return Counted(labels, read_edited_icv(names) if ICV in edited else read_labels(names.icv_mask) > 0)


def read_edited_labels(names: OutputNames, structure: Structure) -> np.ndarray:
    """The corrected labels of a structure: (X, Y, Z) int, the numbers of its parts."""
    place = names.structure(structure.name)
    return read_drawn(place.edited, place.dseg, {0: "outside", **{part.index: part.name for part in structure.parts}})


def read_edited_icv(names: OutputNames) -> np.ndarray:
    """The corrected intracranial mask: (X, Y, Z) bool."""
    return read_drawn(names.edited_icv_mask, names.icv_mask, {0: "outside", 1: "inside"}) > 0


def _state(names: OutputNames) -> dict[str, dict[str, str]]:
    """The corrected masks that lie beside a scan's results, of everything on record."""
    files = {item: names.edited_of(item) for item in recorded_items(read_record(sidecar(names.morph)))}
    return {
        item: {"File": path.name, "SHA256": sha256_of(path)}
        for item, path in files.items()
        if path.is_file() or _dangles(path)
    }


def _dangles(path: Path) -> bool:
    if path.is_symlink() and not path.exists():
        raise ScanReadError(f"{path}: the link leads nowhere. Fetch the mask, or remove the link.")
    return False


def _write(
    names: OutputNames, table: pd.DataFrame, record: dict[str, Any], state: dict[str, Any], automatic: list[dict]
) -> None:
    """Sidecars of the corrected masks, the table, and last its JSON, which says which masks were counted."""
    for item in state:
        _write_sidecar(names, names.edited_of(item), names.images_of(item)[0])
    kept = {key: value for key, value in record.items() if key not in ("Manual", "Edited", "Automatic")}
    manual = {"Manual": True, "Edited": state, "Automatic": automatic} if state else {}
    with unless_ending():  # a table without its checksum would be measured anew
        write_tsv(names.morph, table)
        if isinstance(kept.get("Files"), dict):  # earlier versions recorded no checksums
            kept["Files"] = kept["Files"] | checksums([names.morph])
        write_json(sidecar(names.morph), kept | manual)


def _own_record(path: Path) -> dict[str, Any]:
    """What a person wrote beside a corrected mask; nothing that is needed, so it may be damaged."""
    if not path.is_file():
        return {}
    try:
        return read_record(path)
    except (OSError, ValueError) as error:
        logger.warning("%s: cannot be read as JSON (%s); it is written anew.", path, error)
        return {}


def _warn_of_near_names(names: OutputNames) -> None:
    """Say which files look like corrected masks of the scan, but do not have the name of one."""
    expected = [names.edited_of(item) for item in recorded_items(read_record(sidecar(names.morph)))]
    for path in sorted(names.anat_dir.glob("*[eE]dited*.nii*")):
        if path in expected or not _is_of(path, names):
            continue
        logger.warning(
            "%s: not used, for a corrected mask has another name: %s.", path, " or ".join(p.name for p in expected),
        )  # fmt: skip


def _is_of(path: Path, names: OutputNames) -> bool:
    try:
        entities, _, _ = split_name(path.name)
    except ValueError:
        return path.name.startswith(f"sub-{names.scan.subject}_")
    own, of_scan = (
        {key: label for key, label in every.items() if key not in DERIVATIVE_ENTITIES}
        for every in (entities, names.scan.entities)
    )
    return own == of_scan


def _write_sidecar(names: OutputNames, edited: Path, automatic: Path) -> None:
    """JSON of a corrected mask; what the person wrote into it stays."""
    path = sidecar(edited)
    own = _own_record(path)
    relative = automatic.relative_to(names.output_dir).as_posix()
    write_json(path, own | edited_sidecar(names.scan, read_record(sidecar(automatic)), relative))

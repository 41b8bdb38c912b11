"""Taking the derivatives of a scan away: all, some, or what was left half done; and over from another folder."""

from __future__ import annotations

import logging
from collections.abc import Collection
from functools import partial
from pathlib import Path

from bids_hypo.bids.entities import split_name
from bids_hypo.bids.links import check_writes_stay
from bids_hypo.bids.names import ANY_STRUCTURE, OutputNames, sidecar
from bids_hypo.bids.resume import copied_files, corrected_files, doubt_of_files, files_of, record_or_none
from bids_hypo.ending import undone_at_end
from bids_hypo.image.volume import PART_PATTERN, write_bytes

_log = logging.getLogger(__name__)


def remove_outputs(names: OutputNames, items: Collection[str] | None = None) -> None:
    """Remove derivatives of one scan, whole or half written; figures and reports are left alone.

    Parameters
    ----------
    names : OutputNames
    items : collection of str, optional
        Images and sidecars of these alone. If not given, everything: the table's JSON first, so that the set never
        looks complete on the way, and images of structures that are not wanted now.

    Raises
    ------
    OSError
        If a file cannot be removed.
    CannotCreateError
        If the folder leads out of the output folder by a link.
    """
    check_writes_stay(names.anat_dir, names.output_dir)
    if items is None:
        paths = [sidecar(names.morph), names.morph, *_images_of_any_structure(names)]
    else:
        paths = [image for item in items for image in names.images_of(item)]
    images = [path for path in paths if path.name.endswith(".nii.gz")]
    for path in [*paths, *map(sidecar, images)]:
        path.unlink(missing_ok=True)
        for part in names.anat_dir.glob(f".{path.name}{PART_PATTERN[1:]}"):  # left by a run that was killed
            part.unlink(missing_ok=True)


def _images_of_any_structure(names: OutputNames) -> list[Path]:
    """Images of a scan that are wanted, and those of other structures that lie beside them.

    Those are known by their labels (dseg), the last to go: a mask alone, such as ``label-lesion``, may be a person's.
    """
    labels = names.anat_dir.glob(names.structure(ANY_STRUCTURE).dseg.name.replace(ANY_STRUCTURE, "*"))
    others = [name for path in sorted(labels) if (name := _structure_of(path, names))]
    theirs = (image for name in others for image in reversed(names.structure(name).images))
    return list(dict.fromkeys([*names.images, names.icv_mask, *theirs]))


def _structure_of(path: Path, names: OutputNames) -> str | None:
    """The structure whose labels a file holds; None for labels that a person corrected."""
    try:
        name = split_name(path.name)[0].get("seg", "")
    except ValueError:  # not a name that we give
        return None
    return name if names.structure(name).dseg == path else None


def remove_unfinished(names: OutputNames, items: Collection[str]) -> list[str]:
    """Remove what was written for a scan and is not in its closing file; everything if there is no such file.

    Parameters
    ----------
    names : OutputNames
    items : collection of str
        What was being measured.

    Returns
    -------
    list of str
        The items whose files were removed while those of others stay.

    Raises
    ------
    OSError
        If a file cannot be removed.
    """
    closing = record_or_none(sidecar(names.morph))
    if closing is None:
        remove_outputs(names)
        return []
    half_done = [item for item in items if doubt_of_files(names, closing, files_of(names, item))]
    remove_outputs(names, half_done)
    return half_done


def take_over(former: OutputNames, names: OutputNames) -> None:
    """Copy the complete outputs of a scan from another output folder, with the corrected masks that were counted.

    Parameters
    ----------
    former : OutputNames
    names : OutputNames
        Where they go. Stale outputs there are removed; corrected masks there stay as they are.

    See Also
    --------
    find_link_out : what must have found nothing before.

    Raises
    ------
    OSError
        If a file cannot be read or written.
    """
    drawn = [(old, names.anat_dir / old.name) for old in corrected_files(former)]
    edited = [(old, new) for old, new in drawn if not new.exists()]
    pairs = [(sidecar(old), sidecar(new)) for old, new in edited] + edited
    pairs += [(path, names.anat_dir / path.name) for path in copied_files(former)]
    with undone_at_end(partial(remove_unfinished, names, names.items)):
        remove_outputs(names)
        for source, target in pairs:
            if source.is_file():
                write_bytes(target, source.read_bytes())
    _log.info("%s: taken over from %s", names.scan.name, former.output_dir)

"""Masks that a person corrected: taken in place of the automatic ones, and the volumes counted again."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_hypo.bids.checksums import checksums, sha256_of
from bids_hypo.bids.dataset import write_tsv
from bids_hypo.bids.entities import DERIVATIVE_ENTITIES, split_name
from bids_hypo.bids.links import check_writes_stay
from bids_hypo.bids.names import OutputNames, sidecar
from bids_hypo.bids.resume import source_change
from bids_hypo.bids.sidecars import edited_sidecar, read_head_axes, read_record, write_json
from bids_hypo.bids.tables import morph_numbers
from bids_hypo.ending import unless_ending
from bids_hypo.errors import ScanReadError
from bids_hypo.image.drawn import grid_of, read_drawn
from bids_hypo.image.volume import Volume, read_labels, read_volume
from bids_hypo.measure import correction
from bids_hypo.measure.correction import Agreement, Limits, compare_correction
from bids_hypo.measure.quality import (
    BORDER,
    FOLDS,
    ICV_NOT_MEASURABLE,
    LARGE_HEAD,
    SMALL_HEAD,
    icv_size_flags,
    volume_flags,
)
from bids_hypo.measure.volumes import mask_volume_mm3

logger = logging.getLogger(__name__)

DSEG, ICV = "dseg", "ICV"
_OF_VOLUME = ("asymmetric", "small_volume", "large_volume", BORDER, FOLDS)  # no longer true of another outline


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
    automatic = record.get("Automatic") or _automatic(table)
    _restore(table, automatic, names)
    if DSEG in state:
        _count_hypothalamus(table, read_edited_labels(names), names)
    if ICV in state:
        _count_icv(table, read_edited_icv(names), names)
    _write(names, table, record, state, automatic)
    counted = ", ".join(entry["File"] for entry in state.values()) or "its automatic masks again"
    logger.info("%s: volumes counted in %s", names.scan.name, counted)
    return True


def read_counted(names: OutputNames) -> tuple[Volume, np.ndarray, np.ndarray, np.ndarray | None]:
    """What figures of a finished scan are drawn from.

    Parameters
    ----------
    names : OutputNames

    Returns
    -------
    volume : Volume
        The scan.
    labels : (X, Y, Z) int
        1 left, 2 right hypothalamus: the ones that the table was counted in.
    icv : (X, Y, Z) bool
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
    labels, icv = counted_masks(names)
    return read_volume(names.scan.path), labels, icv, read_head_axes(record)


def counted_masks(names: OutputNames) -> tuple[np.ndarray, np.ndarray]:
    """The masks that the table was counted in: labels (X, Y, Z) of the hypothalamus and the ICV (X, Y, Z) bool."""
    edited, now = read_record(sidecar(names.morph)).get("Edited", {}), _state(names)
    for key, entry in edited.items():
        if now.get(key) != entry:
            raise ScanReadError(
                f"{names.anat_dir / entry['File']}: is gone, or was changed after the volumes were counted in it. "
                "Run participant level with --use-edited to count them again."
            )
    labels = read_edited_labels(names) if DSEG in edited else read_labels(names.dseg)
    icv = read_edited_icv(names) if ICV in edited else read_labels(names.icv_mask) > 0
    return labels, icv


def read_edited_labels(names: OutputNames) -> np.ndarray:
    """The corrected hypothalamus: (X, Y, Z) uint8, 1 left, 2 right."""
    return read_drawn(names.edited_dseg, names.dseg, (0, 1, 2))


def read_edited_icv(names: OutputNames) -> np.ndarray:
    """The corrected intracranial mask: (X, Y, Z) bool."""
    return read_drawn(names.edited_icv_mask, names.icv_mask, (0, 1)) > 0


def _state(names: OutputNames) -> dict[str, dict[str, str]]:
    files = {DSEG: names.edited_dseg, ICV: names.edited_icv_mask}
    return {
        key: {"File": path.name, "SHA256": sha256_of(path)}
        for key, path in files.items()
        if path.is_file() or _dangles(path)
    }


def _dangles(path: Path) -> bool:
    if path.is_symlink() and not path.exists():
        raise ScanReadError(f"{path}: the link leads nowhere. Fetch the mask, or remove the link.")
    return False


def _automatic(table: pd.DataFrame) -> list[dict[str, Any]]:
    kept = table[["structure", "hemisphere", "volume_mm3", "volume_sd_mm3"]].astype(object)
    return [
        {str(key): value for key, value in row.items()} for row in kept.where(kept.notna(), None).to_dict("records")
    ]


def _restore(table: pd.DataFrame, automatic: list[dict[str, Any]], names: OutputNames) -> None:
    """Put the automatic values back; flags from the sidecars of the automatic masks, which are never changed."""
    of = {"hypothalamus": names.dseg, "ICV": names.icv_mask}
    for row in automatic:
        at = _rows(table, row["structure"], row["hemisphere"])
        for column in ("volume_mm3", "volume_sd_mm3"):
            table.loc[at, column] = np.nan if row[column] is None else row[column]
    for structure, image in of.items():
        _set_flags(table, structure, read_record(sidecar(image)).get("Flags", []))


def _rows(table: pd.DataFrame, structure: str, hemisphere: str) -> pd.Series:
    return (table["structure"] == structure) & (table["hemisphere"] == hemisphere)


def _set_flags(table: pd.DataFrame, structure: str, flags: list[str]) -> None:
    table.loc[table["structure"] == structure, "flags"] = ";".join(flags) or None


def _count_hypothalamus(table: pd.DataFrame, labels: np.ndarray, names: OutputNames) -> None:
    grid = grid_of(names.dseg)
    left, right = (mask_volume_mm3(labels == side, grid.voxel_volume_mm3) for side in (1, 2))
    for side, volume in (("L", left), ("R", right), ("B", left + right)):
        table.loc[_rows(table, "hypothalamus", side), ["volume_mm3", "volume_sd_mm3"]] = [round(volume, 3), np.nan]
    of_correction = compare_correction(labels, read_labels(names.dseg), grid.affine, correction.HYPOTHALAMUS)
    _warn(names.edited_dseg, of_correction, correction.HYPOTHALAMUS)
    before = read_record(sidecar(names.dseg)).get("Flags", [])
    kept = [flag for flag in before if flag not in _OF_VOLUME]
    _set_flags(table, "hypothalamus", [*kept, *volume_flags((left, right)), *of_correction.flags])


def _count_icv(table: pd.DataFrame, icv: np.ndarray, names: OutputNames) -> None:
    """A person who draws the intracranial volume says that it can be measured, so the flags that deny it go."""
    grid = grid_of(names.icv_mask)
    volume = mask_volume_mm3(icv, grid.voxel_volume_mm3)
    table.loc[_rows(table, "ICV", "B"), ["volume_mm3", "volume_sd_mm3"]] = [round(volume, 3), np.nan]
    before = read_record(sidecar(names.icv_mask)).get("Flags", [])
    kept = [flag for flag in before if flag not in (*ICV_NOT_MEASURABLE, SMALL_HEAD, LARGE_HEAD)]
    of_correction = compare_correction(icv, read_labels(names.icv_mask), grid.affine, correction.ICV)
    _warn(names.edited_icv_mask, of_correction, correction.ICV)
    _set_flags(table, "ICV", [*kept, *icv_size_flags(volume), *of_correction.flags])


def _warn(path: Path, found: Agreement, limits: Limits) -> None:
    if found.flags:
        logger.warning(
            "%s: flagged %s. Found a Dice of %.2f with the automatic mask and %.1f mm between the centres; expected at "
            "least %.2f and at most %g mm, and left on the left. Is it the mask of this person, and not shifted?",
            path, " and ".join(found.flags), found.dice, found.distance_mm, limits.min_dice, limits.max_distance_mm,
        )  # fmt: skip


def _write(
    names: OutputNames, table: pd.DataFrame, record: dict[str, Any], state: dict[str, Any], automatic: list[dict]
) -> None:
    """Sidecars of the corrected masks, the table, and last its JSON, which says which masks were counted."""
    if DSEG in state:
        _write_sidecar(names, names.edited_dseg, names.dseg)
    if ICV in state:
        _write_sidecar(names, names.edited_icv_mask, names.icv_mask)
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
    for path in sorted(names.anat_dir.glob("*[eE]dited*.nii*")):
        if path in names.edited or not _is_of(path, names):
            continue
        logger.warning(
            "%s: not used, for a corrected mask has another name: %s or %s.",
            path, names.edited_dseg.name, names.edited_icv_mask.name,
        )  # fmt: skip


def _is_of(path: Path, names: OutputNames) -> bool:
    try:
        entities, _, _ = split_name(path.name)
    except ValueError:
        return path.name.startswith(f"sub-{names.scan.subject}_")
    own = {key: label for key, label in entities.items() if key not in DERIVATIVE_ENTITIES}
    return own == names.scan.entities


def _write_sidecar(names: OutputNames, edited: Path, automatic: Path) -> None:
    """JSON of a corrected mask; what the person wrote into it stays."""
    path = sidecar(edited)
    own = _own_record(path)
    relative = automatic.relative_to(names.output_dir).as_posix()
    write_json(path, own | edited_sidecar(names.scan, read_record(sidecar(automatic)), relative))

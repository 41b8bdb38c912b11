"""Masks that a person corrected: taken in place of the automatic ones, and the volumes counted again."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from nibabel.filebasedimages import ImageFileError

from bids_hypo.bids.dataset import write_tsv
from bids_hypo.bids.names import OutputNames, sidecar
from bids_hypo.bids.sidecars import edited_sidecar, read_record, write_json
from bids_hypo.bids.tables import morph_numbers
from bids_hypo.errors import ScanReadError
from bids_hypo.image.volume import Volume, read_labels
from bids_hypo.measure.quality import BORDER, FOLDS, ICV_NOT_MEASURABLE, volume_flags
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
    OSError, ValueError
        If the outputs of the scan are damaged.
    """
    record = read_record(sidecar(names.morph))
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


def counted_masks(names: OutputNames) -> tuple[np.ndarray, np.ndarray]:
    """The masks that the table was counted in: labels (X, Y, Z) of the hypothalamus and the ICV (X, Y, Z) bool."""
    edited = read_record(sidecar(names.morph)).get("Edited", {})
    labels = read_edited_labels(names) if DSEG in edited else read_labels(names.dseg)
    icv = read_edited_icv(names) if ICV in edited else read_labels(names.icv_mask) > 0
    return labels, icv


def read_edited_labels(names: OutputNames) -> np.ndarray:
    """The corrected hypothalamus: (X, Y, Z) uint8, 1 left, 2 right."""
    return _read_drawn(names.edited_dseg, names.dseg, allowed=(0, 1, 2))


def read_edited_icv(names: OutputNames) -> np.ndarray:
    """The corrected intracranial mask: (X, Y, Z) bool."""
    return _read_drawn(names.edited_icv_mask, names.icv_mask, allowed=(0, 1)) > 0


def _read_volume(path: Path) -> Volume:
    """An image of labels with its affine, whatever number type an editor saved it in."""
    try:
        image = nib.Nifti1Image.from_filename(path)
        data = np.asarray(image.dataobj)
    except (OSError, EOFError, ValueError, ImageFileError, nib.spatialimages.HeaderDataError) as error:
        raise ScanReadError(f"{path}: not a readable NIfTI image ({error}). Save it again.") from error
    if data.ndim == 4 and data.shape[3] == 1:
        data = data[..., 0]
    return Volume(data, np.asarray(image.affine, dtype=float))


def _read_drawn(path: Path, automatic: Path, *, allowed: tuple[int, ...]) -> np.ndarray:
    drawn, grid = _read_volume(path), _read_volume(automatic).grid
    if drawn.grid.shape != grid.shape or not np.allclose(drawn.affine, grid.affine, atol=1e-2):
        raise ScanReadError(
            f"{path}: lies on another grid (shape {drawn.grid.shape}) than {automatic.name} (shape {grid.shape}). "
            "Open that file in the editor, correct it there and save it under the new name, without resampling."
        )
    values = np.unique(drawn.data)
    if not np.isin(values, allowed).all():
        found = ", ".join(f"{v:g}" for v in values[:12])
        raise ScanReadError(
            f"{path}: found the values {found}; expected only {', '.join(map(str, allowed))} "
            f"({'1 left, 2 right' if len(allowed) > 2 else '1 inside'}). Relabel it in the editor."
        )
    if not drawn.data.any():
        raise ScanReadError(f"{path}: the mask is empty. Save it again, or remove the file to use the automatic one.")
    return drawn.data.astype(np.uint8)


def _state(names: OutputNames) -> dict[str, dict[str, str]]:
    files = {DSEG: names.edited_dseg, ICV: names.edited_icv_mask}
    return {
        key: {"File": path.name, "SHA256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for key, path in files.items()
        if path.is_file()
    }


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
    voxel_mm3 = _read_volume(names.dseg).grid.voxel_volume_mm3
    left, right = (mask_volume_mm3(labels == side, voxel_mm3) for side in (1, 2))
    for side, volume in (("L", left), ("R", right), ("B", left + right)):
        table.loc[_rows(table, "hypothalamus", side), ["volume_mm3", "volume_sd_mm3"]] = [round(volume, 3), np.nan]
    before = read_record(sidecar(names.dseg)).get("Flags", [])
    _set_flags(table, "hypothalamus", [f for f in before if f not in _OF_VOLUME] + list(volume_flags((left, right))))


def _count_icv(table: pd.DataFrame, icv: np.ndarray, names: OutputNames) -> None:
    """A person who draws the intracranial volume says that it can be measured, so the flags that deny it go."""
    volume = mask_volume_mm3(icv, _read_volume(names.icv_mask).grid.voxel_volume_mm3)
    table.loc[_rows(table, "ICV", "B"), ["volume_mm3", "volume_sd_mm3"]] = [round(volume, 3), np.nan]
    before = read_record(sidecar(names.icv_mask)).get("Flags", [])
    _set_flags(table, "ICV", [f for f in before if f not in ICV_NOT_MEASURABLE])


def _write(
    names: OutputNames, table: pd.DataFrame, record: dict[str, Any], state: dict[str, Any], automatic: list[dict]
) -> None:
    """Sidecars of the corrected masks, the table, and last its JSON, which says which masks were counted."""
    if DSEG in state:
        _write_sidecar(names, names.edited_dseg, names.dseg)
    if ICV in state:
        _write_sidecar(names, names.edited_icv_mask, names.icv_mask)
    write_tsv(names.morph, table)
    kept = {key: value for key, value in record.items() if key not in ("Manual", "Edited", "Automatic")}
    manual = {"Manual": True, "Edited": state, "Automatic": automatic} if state else {}
    write_json(sidecar(names.morph), kept | manual)


def _write_sidecar(names: OutputNames, edited: Path, automatic: Path) -> None:
    """JSON of a corrected mask; what the person wrote into it stays."""
    path = sidecar(edited)
    own = read_record(path) if path.is_file() else {}
    relative = automatic.relative_to(names.output_dir).as_posix()
    write_json(path, own | edited_sidecar(names.scan, read_record(sidecar(automatic)), relative))


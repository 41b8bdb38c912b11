"""Masks that a person drew on the grid of another image: checked by their header, then read, and no more than fits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_hypo.errors import ScanReadError
from bids_hypo.image.grid import Grid, as_shape
from bids_hypo.image.nifti import UNREADABLE, check_numeric, open_image
from bids_hypo.image.placement import check_placement
from bids_hypo.image.values import near_whole

_TOLERANCE_MM = 1e-2


def grid_of(path: Path) -> Grid:
    """The grid of an image of this package in millimetres, without reading its voxels."""
    image = open_image(path, header_only=True)
    return Grid(as_shape(image.shape[:3]), check_placement(path, image.header, any_size=True).affine)


def read_drawn(path: Path, like: Path, allowed: Mapping[int, str]) -> np.ndarray:
    """Read labels that were drawn on the grid of another image, whatever number type an editor saved them in.

    Parameters
    ----------
    path : Path
        NIfTI, compressed or not. However large its header says it is, or unpacks to, no more is read than the grid has.
    like : Path
        The image that was drawn on.
    allowed : mapping of int to str
        The labels that may be in it, with what they mean.

    Returns
    -------
    (X, Y, Z) uint8 or uint16

    Raises
    ------
    ScanReadError
        If it cannot be read, lies on another grid, holds other labels or is empty.
    """
    grid = grid_of(like)
    header = open_image(path, header_only=True).header
    check_numeric(path, header.get_data_dtype())
    _check_grid(path, header, grid, like.name)
    try:
        data = np.asarray(open_image(path).dataobj).reshape(grid.shape)
    except UNREADABLE as error:
        raise ScanReadError(f"{path}: not a readable NIfTI image ({error}). Save it again.") from error
    labels = near_whole(data)
    _check_labels(path, labels, allowed)
    return labels.astype(np.uint8 if max(allowed) < 256 else np.uint16)


def _check_grid(path: Path, header: nib.Nifti1Header, grid: Grid, like: str) -> None:
    shape = tuple(header.get_data_shape())
    found = []
    if shape[:3] != grid.shape or any(n != 1 for n in shape[3:]):
        found.append(f"its shape is {shape}, that of {like} is {grid.shape}")
    placed = not found or bool(header["sform_code"] or header["qform_code"])
    affine = check_placement(path, header, any_size=True).affine if placed else grid.affine
    if not np.allclose(affine, grid.affine, atol=_TOLERANCE_MM):
        found.append(f"its affine is {_rows(affine)}, that of {like} is {_rows(grid.affine)}")
    if found:
        raise ScanReadError(
            f"{path}: lies on another grid: {'; '.join(found)}. Open {like} in the editor, correct it there and save "
            "it under the new name, without resampling. Is it a mask of this scan?"
        )


def _rows(affine: np.ndarray) -> str:
    return str(np.round(affine[:3], 3).tolist())


def _check_labels(path: Path, data: np.ndarray, allowed: Mapping[int, str]) -> None:
    if not np.isin(data, list(allowed)).all():
        found = ", ".join(f"{v:.9g}" for v in np.unique(data)[:12])
        raise ScanReadError(
            f"{path}: found the values {found}; expected only {_meanings(allowed)}. Relabel it in the editor."
        )
    if not data.any():
        raise ScanReadError(f"{path}: the mask is empty. Save it again, or remove the file to use the automatic one.")


def _meanings(allowed: Mapping[int, str]) -> str:
    return ", ".join(f"{number} ({meaning})" for number, meaning in allowed.items())

"""Masks that a person drew on the grid of another image: checked by their header, then read, and no more than fits."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import BinaryIO, cast

import nibabel as nib
import numpy as np
from nibabel.wrapstruct import WrapStructError

from bids_hypo.errors import ScanReadError
from bids_hypo.image.grid import Grid, as_shape
from bids_hypo.image.nifti import GZIP, UNREADABLE, check_numeric, kind_of, open_image
from bids_hypo.image.placement import check_placement
from bids_hypo.image.values import near_whole

_HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 has 348
_MAX_OFFSET_BYTES = 2**24  # of the voxels: notes of other programs stand before them
_TOLERANCE_MM = 1e-2


def grid_of(path: Path) -> Grid:
    """The grid of an image of this package in millimetres, without reading its voxels."""
    image = open_image(path, header_only=True)
    return Grid(as_shape(image.shape[:3]), check_placement(path, image.header, any_size=True).affine)


def read_drawn(path: Path, like: Path, allowed: tuple[int, ...]) -> np.ndarray:
    """Read labels that were drawn on the grid of another image, whatever number type an editor saved them in.

    Parameters
    ----------
    path : Path
        NIfTI, compressed or not. However large its header says it is, or unpacks to, no more is read than the grid has.
    like : Path
        The image that was drawn on.
    allowed : tuple of int
        The labels that may be in it.

    Returns
    -------
    (X, Y, Z) uint8

    Raises
    ------
    ScanReadError
        If it cannot be read, lies on another grid, holds other labels or is empty.
    """
    grid = grid_of(like)
    try:
        with _opened(path) as stream:
            header = _header(path, stream.read(_HEADER_BYTES))
            _check_grid(path, header, grid, like.name)
            n_bytes = int(np.prod(header.get_data_shape(), dtype=np.int64)) * header.get_data_dtype().itemsize
            stream.seek(0)
            payload = stream.read(int(header["vox_offset"]) + n_bytes)
            stream.read(_MAX_OFFSET_BYTES)  # to the end, where gzip has its checksum
        data = np.asarray(kind_of(payload[:4]).from_bytes(payload).dataobj).reshape(grid.shape)
    except (*UNREADABLE, WrapStructError) as error:
        raise ScanReadError(f"{path}: not a readable NIfTI image ({error}). Save it again.") from error
    labels = near_whole(data)
    _check_labels(path, labels, allowed)
    return labels.astype(np.uint8)


def _opened(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        compressed = file.read(2) == GZIP
    return cast(BinaryIO, gzip.open(path) if compressed else path.open("rb"))


def _header(path: Path, raw: bytes) -> nib.Nifti1Header:
    kind = kind_of(raw[:4]).header_class
    header = kind(raw[: kind.template_dtype.itemsize])
    check_numeric(path, header.get_data_dtype())
    offset = float(header["vox_offset"])
    if not 0 <= offset <= _MAX_OFFSET_BYTES:
        raise ScanReadError(f"{path}: the header says that the voxels begin at byte {offset:g}. Save it again.")
    return header


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


def _check_labels(path: Path, data: np.ndarray, allowed: tuple[int, ...]) -> None:
    if not np.isin(data, allowed).all():
        found = ", ".join(f"{v:.9g}" for v in np.unique(data)[:12])
        raise ScanReadError(
            f"{path}: found the values {found}; expected only {', '.join(map(str, allowed))} "
            f"({'1 left, 2 right' if len(allowed) > 2 else '1 inside'}). Relabel it in the editor."
        )
    if not data.any():
        raise ScanReadError(f"{path}: the mask is empty. Save it again, or remove the file to use the automatic one.")

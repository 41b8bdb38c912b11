"""The values of an image: as float32, finite, and those of a head."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_hypo.errors import ScanReadError
from bids_hypo.image.faces import connected_with_faces
from bids_hypo.image.nifti import UNREADABLE, check_numeric

UNDEFINED = "undefined_voxels"
MIN_VALUES = 3  # different ones; a mask has two
_WORKABLE = (1e-20, 1e20)  # sizes of intensities that float32 has room for, with their squares
_MIN_RESOLUTION = 1e-3  # of the intensities: their range; float32 has 1e-7
_ROUNDED = 0.01  # how far a label may be from a whole number: programs save labels as fractions with a scale
_SAMPLE = 100_000  # voxels among which different values are counted first


@dataclass(frozen=True)
class Holes:
    """How much inside a head may have no value.

    Attributes
    ----------
    share : float
        Of the head.
    largest_mm3 : float
        Of one hole.
    """

    share: float
    largest_mm3: float


HEAD_HOLES = Holes(0.01, 100.0)
MAP_HOLES = Holes(0.1, 2e4)  # the fit behind a map fails in bone and in the sinuses


def read_values(path: Path, image: nib.Nifti1Image) -> np.ndarray:
    """Read the data of an image as float32; what float32 cannot hold well comes shifted and scaled.

    Parameters
    ----------
    path : Path
        Named in errors.
    image : Nifti1Image

    Raises
    ------
    ScanReadError
        If they are no numbers, or damaged.
    """
    check_numeric(path, image.get_data_dtype())
    try:
        with np.errstate(all="ignore"):
            data = _as_float32(image)
            if data.any() and _fits(data):
                return data
            wide = np.array(image.dataobj, dtype=np.float64)
    except UNREADABLE as error:
        raise ScanReadError(f"{path}: the image data end early or are damaged ({error}). Fetch it again.") from error
    size, spread, middle = _sizes(wide)
    if not np.isfinite(size) or size == 0:
        return data
    shift = middle if 0 < spread < _MIN_RESOLUTION * size else 0.0
    with np.errstate(all="ignore"):
        return np.ldexp(wide - shift, -int(np.log2(spread if shift else size))).astype(np.float32)


def _as_float32(image: nib.Nifti1Image) -> np.ndarray:
    """The data as float32, a slice after the other: whole, an image with a scale would be in memory as float64 too."""
    data = np.empty(image.shape, np.float32, order="F")
    for z in range(image.shape[2]):
        data[:, :, z] = image.dataobj[:, :, z]
    return data


def _fits(data: np.ndarray) -> bool:
    """Whether float32 holds these intensities and the differences between them."""
    size, spread, _ = _sizes(data)
    return size == 0 or (_WORKABLE[0] < size < _WORKABLE[1] and spread >= _MIN_RESOLUTION * size)


def _sizes(data: np.ndarray) -> tuple[float, float, float]:
    """Typical absolute value, range and median of every 4th voxel that is not 0; infinite ones count."""
    values = data[tuple(slice(None, None, 4) for _ in data.shape)]
    values = values[(values != 0) & ~np.isnan(values)]
    if not values.size:
        return 0.0, 0.0, 0.0
    low, middle, high = (float(q) for q in np.quantile(values, [0.01, 0.5, 0.99], method="lower"))
    return float(np.median(np.abs(values))), high - low, middle


def finite(
    path: Path, data: np.ndarray, voxel_mm3: float, allowed: Holes = HEAD_HOLES
) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """Check that data may be those of a head, and set what is NaN or infinite to 0.

    Parameters
    ----------
    path : Path
        Named in errors.
    data : (X, Y, Z) float32
        Changed in place.
    voxel_mm3 : float
    allowed : Holes

    Returns
    -------
    data : (X, Y, Z) float32
    undefined : (X, Y, Z) bool or None
        Where they had no value; None if there is no such voxel.
    holes : bool
        Whether some of them lie inside the head.

    Raises
    ------
    ScanReadError
        If there are hardly any different values, or much of the head has none.
    """
    undefined = ~np.isfinite(data)
    n = int(undefined.sum())
    values = data[~undefined] if n else data
    _check_different(path, values.ravel())
    if not n:
        return data, None, False
    data[undefined] = 0
    head = _head(data)
    holes = undefined & head & ~connected_with_faces(undefined)  # what reaches the faces lies around the head
    n_holes, n_head = int(holes.sum()), int(head.sum())
    parts, _ = ndimage.label(holes)
    largest = int(np.bincount(parts.ravel())[1:].max(initial=0))
    if n_holes > allowed.share * n_head or largest * voxel_mm3 > allowed.largest_mm3:
        raise ScanReadError(
            f"{path}: {100 * n_holes / max(n_head, 1):.1f} % of the voxels inside the head are NaN or infinite, and "
            f"the largest hole has {largest * voxel_mm3:.0f} mm3; expected at most {100 * allowed.share:g} % "
            f"and {allowed.largest_mm3:g} mm3. (Around the head such voxels count as background.) Export the image "
            "again, or fill the holes."
        )
    return data, undefined, n_holes > 0


def _check_different(path: Path, values: np.ndarray) -> None:
    """Refuse an image of one value, or of as few as a mask has."""
    if len(np.unique(values[:: max(values.size // _SAMPLE, 1)])) >= MIN_VALUES:
        return
    different = np.unique(values)
    if not len(different):
        found = "no voxel has a finite value"
    elif len(different) == 1:
        found = f"every voxel has the value {float(different[0]):g}"
    elif len(different) < MIN_VALUES:
        found = f"found only the values {', '.join(f'{float(value):g}' for value in different)}"
    else:
        return
    raise ScanReadError(f"{path}: {found}; expected an image of a head. Is it a mask, or a map of labels?")


def _head(data: np.ndarray) -> np.ndarray:
    """What is brighter than the mean, without holes: (X, Y, Z) bool, found in every other voxel."""
    bright = ndimage.binary_fill_holes(ndimage.binary_closing(data[::2, ::2, ::2] > data.mean(), iterations=2))
    wide = bright.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    return wide[: data.shape[0], : data.shape[1], : data.shape[2]]


def near_whole(data: np.ndarray) -> np.ndarray:
    """Data with every value that is nearly a whole number made one; others, as interpolation leaves them, stay."""
    whole = np.rint(data)
    return np.where(np.abs(data - whole) < _ROUNDED, whole, data)

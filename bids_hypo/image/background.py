"""What surrounds the head: one estimate of the value of nothing, and images in which that value is 0.

Air is 0 in most images, but not in all. A brain whose intensities were standardised has a background brighter than some
of it, an offset lifts everything, and the ratio image of MP2RAGE (UNIT1) is full of noise where there is no signal.
After `above_background`, 0 means nothing in every image, and networks, flags and pictures may rely on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

FLOOR, BLANK, MASKED, NOISE = "floor", "blank", "masked", "noise"
NOISY_AIR = "noise_around_head"
_STEP = 2  # every other voxel is enough for an estimate
_LOWEST, _LOWEST_TISSUE, _HIGHEST = 1e-4, 1e-4, 0.999  # quantiles
_SAME = 0.003  # of the range of intensities: what counts as one value
_MIN_SOLID = 0.5  # of the blank voxels: those whose neighbours are blank too
_MIN_BLANK = 0.05  # of all voxels
_BELOW, _MIN_BELOW = 0.05, 0.05  # a share of the tissue that lies below the background, by a share of the range
_NOISE_SPREAD = 0.5  # of the range: between the 5th and the 95th percentile at the faces of the image
_NOISE_WHITENESS = 0.5  # half the mean squared difference of neighbours over the variance: 1 in white noise
_NOISE_SD = 0.15  # of the range: even noise over all of it has 0.29
_NOISE_MM, _NOISE_VOXELS = 5.0, 5  # at least, over which the power of noise is averaged
_AIR_POWER = 0.35  # of that at the faces: tissue below, air above


@dataclass(frozen=True)
class Background:
    """What was found around the head.

    Attributes
    ----------
    value : float
        Of the background, in the units of the file.
    kind : str
        ``floor``: air with a little noise, the lowest values of the image; ``blank``: one value, the lowest;
        ``masked``: one value that is not the lowest, or far below the rest, so that the zero of the tissue is an
        estimate (its lowest values); ``noise``: noise as strong as the signal, as in UNIT1 of MP2RAGE.
    """

    value: float
    kind: str


def above_background(
    data: np.ndarray, undefined: np.ndarray | None = None, *, voxel_sizes_mm: tuple[float, ...] = (1.0, 1.0, 1.0)
) -> tuple[np.ndarray, Background]:
    """Shift intensities so that the background is 0 and tissue lies above it.

    The result does not change when the image is multiplied by a positive number or a constant is added to it.

    Parameters
    ----------
    data : (X, Y, Z) float32
        Finite. Changed in place.
    undefined : (X, Y, Z) bool, optional
        Voxels without a value (NaN); they count as background.
    voxel_sizes_mm : (3,) float

    Returns
    -------
    data : (X, Y, Z) float32
        Exactly 0 where the image is blank; a few voxels of noise or ringing may lie below.
    background : Background
    """
    thin = (slice(None, None, _STEP),) * 3
    known = None if undefined is None else ~undefined[thin]
    coarse = data[thin]
    values = coarse.ravel() if known is None else coarse[known]
    low, high = np.quantile(values, [_LOWEST, _HIGHEST], method="lower")
    extent = float(high) - float(low)
    if extent <= 0:  # almost everything has one value
        low, high = values.min(), values.max()
        extent = float(high) - float(low)
    faces = _faces(coarse, known)
    middle = float(np.median(faces)) if faces.size else float(low)
    if faces.size and _is_noise(coarse, faces, extent):
        out = _without_noise(data, float(low), np.asarray(voxel_sizes_mm))
        background = Background(middle, NOISE)
    else:
        out, background = _shifted(data, coarse, known, middle, float(low), extent)
    if undefined is not None:
        out[undefined] = 0
    return out, background


def _faces(coarse: np.ndarray, known: np.ndarray | None) -> np.ndarray:
    """Values on the outer faces of the image."""
    outer = np.ones(coarse.shape, bool)
    outer[1:-1, 1:-1, 1:-1] = False
    return coarse[outer if known is None else outer & known]


def _shifted(
    data: np.ndarray, coarse: np.ndarray, known: np.ndarray | None, middle: float, low: float, extent: float
) -> tuple[np.ndarray, Background]:
    same = np.float32(_SAME * extent)
    blank = np.abs(coarse - np.float32(middle)) <= same
    if known is not None:
        blank |= ~known
    solid = ndimage.binary_erosion(blank, border_value=1)
    if blank.mean() < _MIN_BLANK or solid.sum() < _MIN_SOLID * blank.sum():
        data -= np.float32(low)
        return data, Background(low, FLOOR)
    rest = coarse[~blank]
    if rest.size:
        tissue, top = (float(q) for q in np.quantile(rest, [_LOWEST_TISSUE, _HIGHEST], method="lower"))
        below = float((rest < middle - _BELOW * (top - tissue)).mean()) > _MIN_BELOW
        if below or tissue - middle > top - tissue:
            return _from_lowest_tissue(data, middle, tissue, float(same)), Background(middle, MASKED)
    data -= np.float32(middle)
    data[np.abs(data) <= same] = 0
    return data, Background(middle, BLANK)


def _from_lowest_tissue(data: np.ndarray, blank: float, tissue: float, same: float) -> np.ndarray:
    """Blank around the tissue becomes 0, the tissue's lowest value too; voxels inside that happen to equal it stay."""
    outside, n = ndimage.label(np.abs(data - np.float32(blank)) <= np.float32(same))
    sizes = np.bincount(outside.ravel(), minlength=n + 1)
    large = sizes >= max(0.001 * data.size, 1)
    large[0] = False
    data -= np.float32(tissue)
    np.maximum(data, 0, out=data)
    data[large[outside]] = 0
    return data


def _is_noise(coarse: np.ndarray, faces: np.ndarray, extent: float) -> bool:
    """Whether the faces of the image hold white noise that fills the range of intensities."""
    low, high = np.percentile(faces, [5, 95])
    if high - low < _NOISE_SPREAD * extent:
        return False
    power, white = [], []
    for axis in range(3):
        for index in (0, -1):
            plane = coarse.take(index, axis=axis)
            for along in (0, 1):
                power.append(0.5 * float(np.mean(np.diff(plane, axis=along) ** 2)))
                white.append(power[-1] / max(float(plane.var()), 1e-12))
    return float(np.median(white)) > _NOISE_WHITENESS and float(np.median(power)) > (_NOISE_SD * extent) ** 2


def _without_noise(data: np.ndarray, low: float, voxel_sizes_mm: np.ndarray) -> np.ndarray:
    """Set the air to 0: what changes from voxel to voxel about as much as the faces do, and is connected with them.

    Noise inside the head, in bone and in tissue, stays as it is: the networks bear it better than any repair.
    """
    power = np.zeros(data.shape, np.float32)
    for axis in range(3):
        step = np.diff(data, axis=axis, append=data.take([-1], axis=axis))
        power += step * step
    window = np.maximum(np.round(_NOISE_MM / voxel_sizes_mm), _NOISE_VOXELS).astype(int)
    power = ndimage.uniform_filter(power, tuple(window | 1), mode="nearest")
    noisy = ndimage.binary_opening(np.pad(power > _AIR_POWER * float(np.median(_faces(power, None))), 2, mode="edge"),
                                   iterations=2)[2:-2, 2:-2, 2:-2]  # fmt: skip
    parts, n = ndimage.label(noisy)
    outside = np.zeros(n + 1, bool)
    outside[np.unique(_faces(parts, None))] = True
    outside[0] = False
    data -= np.float32(low)
    data[outside[parts]] = 0
    return data

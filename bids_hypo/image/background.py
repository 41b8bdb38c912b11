"""What surrounds the head: one estimate of the value of nothing, and images in which that value is 0.

Air is 0 in most images, but not in all. A brain whose intensities were standardised has a background brighter than some
of it, an offset lifts everything, and the ratio image of MP2RAGE (UNIT1) is full of noise where there is no signal.
After `above_background`, 0 means nothing in every image, and networks, flags and pictures may rely on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bids_hypo.image.faces import connected_with_faces, on_faces
from bids_hypo.image.grid import bounding_box

FLOOR, BLANK, MASKED, NOISE = "floor", "blank", "masked", "noise"
NOISY_AIR, UNCERTAIN = "noise_around_head", "background_uncertain"
_STEP = 2  # every other voxel is enough for an estimate
_LOWEST, _LOW, _HIGHEST = 1e-4, 1e-2, 0.999  # quantiles
_MAX_TAIL = 0.1  # of the range: how far the lowest quantile may lie below the low one; else it is single spikes
_SAME = 0.003  # of the range of intensities: what counts as one value
_SPREAD, _MAX_SPREAD = 6.0, 0.03  # of noise around a value: in standard deviations; of the range, at most
_MIN_SOLID = 0.02  # of all voxels: blank ones among blank ones
_MIN_AT_FACES = 0.05  # of the voxels on the faces of the image: those that a blank region covers
_BELOW, _MIN_BELOW = 0.05, 0.05  # a share of the tissue that lies below the background, by a share of the range
_GREY, _EVEN_GREY = 0.2, 0.15  # of the range: air that is brighter than that above the lowest, and this even
_GAP, _GAP_BELOW_AIR = 0.25, 0.03  # of the range: between the background and the lowest tissue, or air within it
_MIN_MODE = 0.01  # of the voxels on the faces: those of one value that is more than noise
_NOISE_LEVEL = 0.2  # of the range: the air of an ordinary image is darker
_WHITENESS = 0.5  # half the mean squared difference of neighbours over the variance: 1 in white noise
_EVEN = 0.04  # of the range: standard deviation; what is evener is not the noise of MP2RAGE
_NOISE_MM, _NOISE_VOXELS = 5.0, 5  # at least, over which the power of noise is averaged
_AIR_POWER = 0.35  # of that at the faces: tissue below, air above
_MIN_POWER_RATIO = 4.0  # of the noise at the faces and in the middle: else the two cannot be told apart


@dataclass(frozen=True)
class Background:
    """What was found around the head.

    Attributes
    ----------
    value : float
        Of the background, in the units of the file (of numbers too large for 32 bits: after they were scaled).
    kind : str
        ``floor``: air with a little noise, the lowest values of the image; ``blank``: one value, the lowest;
        ``masked``: one value that is not the lowest, or clearly below the rest, so that the zero of the rest is an
        estimate (its lowest values); ``noise``: noise as strong as the signal, as in UNIT1 of MP2RAGE.
    doubts : tuple of str
        `NOISY_AIR` with ``noise``; `UNCERTAIN` where an even background is brighter than some of the tissue, but not
        even enough to be told from it.
    """

    value: float
    kind: str
    doubts: tuple[str, ...] = ()


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
    coarse = data[thin]
    known = np.ones(coarse.shape, bool) if undefined is None else ~undefined[thin]
    low, high = _range(coarse[known])
    value, same = _blank_value(coarse, known, high - low)
    blank = ~known if value is None else ~known | (np.abs(coarse - np.float32(value)) <= same)
    rest = coarse[~blank]
    if rest.size:
        low, high = _range(rest)
    if _is_noise(coarse, blank, low, high):
        background = Background(low, NOISE, (NOISY_AIR,))
        outside = _noisy_air(data, np.asarray(voxel_sizes_mm), blank)
        if value is not None:
            outside |= np.abs(data - np.float32(value)) <= np.float32(same)
        data -= np.float32(low)
        data[outside] = 0
    elif value is None:
        background = Background(low, FLOOR, (UNCERTAIN,) if _is_grey(coarse, known, low, high) else ())
        data -= np.float32(low)  # now, for what was looked at is a view of it
    elif _is_apart(rest, value, same, low, high) or (
        _surrounds_itself(blank) and low - value - same > _GAP_BELOW_AIR * (high - low)
    ):
        background = Background(value, MASKED)
        _from_lowest_tissue(data, value, low, same)
    else:
        data -= np.float32(value)
        data[np.abs(data) <= same] = 0
        background = Background(value, BLANK)
    if undefined is not None:
        data[undefined] = 0
    return data, background


def _range(values: np.ndarray) -> tuple[float, float]:
    """The lowest and the highest value, but for single spikes."""
    lowest, low, high = (float(q) for q in np.quantile(values, [_LOWEST, _LOW, _HIGHEST], method="lower"))
    if high <= lowest:  # almost everything has one value
        return float(values.min()), float(values.max())
    return (low if low - lowest > _MAX_TAIL * (high - low) else lowest), high


def _blank_value(coarse: np.ndarray, known: np.ndarray, extent: float) -> tuple[float | None, float]:
    """The value of what was masked, padded or defaced, and how near to it others are the same; None if there is none.

    It is looked for on the faces of the image: half of them, or a solid part of them, has to have it.
    """
    outer = on_faces(coarse.shape) & known
    faces = coarse[outer]
    if not faces.size:
        return None, 0.0
    middle, same = float(np.median(faces)), _SAME * extent
    values, counts = np.unique(faces, return_counts=True)
    often = [float(values[counts.argmax()])] if counts.max() >= _MIN_MODE * faces.size else []
    if not often or abs(often[0] - middle) <= same:
        spread = _SPREAD * 1.4826 * float(np.median(np.abs(faces - middle)))
        if same < spread <= _MAX_SPREAD * extent:  # a little noise around one value, in the midst of the others
            rest = coarse[known & (np.abs(coarse - np.float32(middle)) > spread)]
            if rest.size and _is_apart(rest, middle, spread, *_range(rest)):
                return middle, spread
    for value in dict.fromkeys([*often, middle]):
        blank = np.abs(coarse - np.float32(value)) <= np.float32(same)
        solid = ndimage.binary_erosion(blank, border_value=1)
        if solid.mean() >= _MIN_SOLID and solid[outer].mean() >= _MIN_AT_FACES:
            return value, same
    return None, 0.0


def _is_apart(rest: np.ndarray, value: float, same: float, low: float, high: float) -> bool:
    """Whether what is not blank lies partly below the blank value, or clearly above it."""
    if not rest.size:
        return False
    below = float((rest < value - same - _BELOW * (high - low)).mean())
    return below > _MIN_BELOW or low - value - same > _GAP * (high - low)


def _is_grey(coarse: np.ndarray, known: np.ndarray, low: float, high: float) -> bool:
    """Whether the faces of the image are even and clearly brighter than the lowest values: no air of a scan is."""
    faces = coarse[on_faces(coarse.shape) & known]
    if not faces.size:
        return False
    quarter, middle, three_quarters = np.percentile(faces, [25, 50, 75])
    extent = high - low
    return bool(middle - low > _GREY * extent and three_quarters - quarter < _EVEN_GREY * extent)


def _surrounds_itself(blank: np.ndarray) -> bool:
    """Whether what is not blank reaches the faces of its box all around, as a padded or defaced image with air does."""
    inside = ~blank[bounding_box(~blank)]
    return bool(inside[on_faces(inside.shape)].mean() > 0.5)


def _from_lowest_tissue(data: np.ndarray, blank: float, tissue: float, same: float) -> None:
    """Blank around the tissue becomes 0, the tissue's lowest value too; voxels inside that happen to equal it stay."""
    outside, n = ndimage.label(np.abs(data - np.float32(blank)) <= np.float32(same))
    sizes = np.bincount(outside.ravel(), minlength=n + 1)
    large = sizes >= max(0.001 * data.size, 1)
    large[0] = False
    data -= np.float32(tissue)
    np.maximum(data, 0, out=data)
    data[large[outside]] = 0


def _is_noise(coarse: np.ndarray, blank: np.ndarray, low: float, high: float) -> bool:
    """Whether around the head, inside what was padded, there is white noise that is not dark."""
    box = bounding_box(~blank)
    if any(s.stop - s.start < 8 for s in box):
        return False
    inner = tuple(slice(s.start + 1, s.stop - 1) for s in box)  # interpolation mixes the outermost with the padding
    values, there = coarse[inner], ~blank[inner]
    outer = on_faces(values.shape)
    if there[outer].mean() < 0.5 or np.median(values[outer & there]) - low < _NOISE_LEVEL * (high - low):
        return False
    white = []
    for axis in range(3):
        for index in (0, -1):
            plane = values.take(index, axis=axis)
            variance = float(plane.var())
            even = variance < (_EVEN * (high - low)) ** 2  # tissue with a little noise
            white += [0.0 if even else 0.5 * float(np.mean(np.diff(plane, axis=k) ** 2)) / variance for k in (0, 1)]
    return float(np.median(white)) > _WHITENESS


def _noisy_air(data: np.ndarray, voxel_sizes_mm: np.ndarray, blank: np.ndarray) -> np.ndarray:
    """Where the air is: what changes from voxel to voxel about as much as the faces do, and is connected with them.

    Noise inside the head, in bone and in tissue, stays as it is: the networks bear it better than any repair.
    """
    box = tuple(slice(_STEP * (s.start + 1), _STEP * (s.stop - 1)) for s in bounding_box(~blank))
    inside = data[box]
    power = np.zeros(inside.shape, np.float32)
    for axis in range(3):
        step = np.diff(inside, axis=axis, append=inside.take([-1], axis=axis))
        power += step * step
    window = np.maximum(np.round(_NOISE_MM / voxel_sizes_mm), _NOISE_VOXELS).astype(int)
    power = ndimage.uniform_filter(power, tuple(window | 1), mode="nearest")
    outside = np.ones(data.shape, bool)
    of_air = float(np.median(power[on_faces(power.shape)]))
    ratio = of_air / max(float(np.median(power[tuple(slice(n // 3, 2 * n // 3) for n in power.shape)])), 1e-12)
    if ratio < _MIN_POWER_RATIO:  # smoothed or interpolated
        outside[box] = False
        return outside
    padded = np.pad(power > max(_AIR_POWER, ratio**-0.5) * of_air, 2, mode="edge")
    outside[box] = connected_with_faces(ndimage.binary_opening(padded, iterations=2)[2:-2, 2:-2, 2:-2])
    return outside

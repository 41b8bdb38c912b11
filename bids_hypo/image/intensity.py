"""Intensity rules: each maps an image and its spacing (mm) to a scale that does not depend on the scanner's units.

A bundle names its rule, and training and inference call the same function, so the two cannot drift apart.
Every rule is invariant to multiplication of the image by a positive factor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

CLIP_FOREGROUND = 4.0
CLIP_SD = 4.0
CLIP_MASKED = 6.0
SIGNED_SHARE = 0.1  # of an image that is negative, by size
WHITE_MATTER_AT = 0.39  # of the range of the pictures that Vernikouskaya et al. (2023) trained on
MIDDLE_MM = (64.0, 25.0, 64.0)  # the slices of theirs around the hypothalamus
_SAMPLES = 128  # along an axis, at most: enough for a histogram
_BINS, _SMOOTH_BINS = 256, 5.0

Rule = Callable[[np.ndarray, Sequence[float]], np.ndarray]


def foreground_scale(data: np.ndarray) -> np.ndarray:
    """Scale so that the mean of the bright part of the image is 1.

    The darkest percentile becomes 0; the bright part is what lies above the mean of the image (head against air).

    Parameters
    ----------
    data : (...) float

    Returns
    -------
    (...) float32
        Between 0 and 4.
    """
    data = np.asarray(data, dtype=np.float32)
    shifted = data - np.float32(np.percentile(data, 1))
    return _by_what_stands_out(shifted, shifted, 0)


def zscore(data: np.ndarray) -> np.ndarray:
    """Z-score over the whole region, all its slices together, so that contrast between slices is kept.

    Voxels of exactly 0 are taken as masked out (skull stripping, outside the field of view) and do not count for the
    mean and the standard deviation. The 0.5 and 99.5 percentiles bound the values that count, against single
    bright vessels.

    Parameters
    ----------
    data : (...) float

    Returns
    -------
    (...) float32
        Between -4 and 4.
    """
    data = np.asarray(data, dtype=np.float32)
    inside = data[data != 0]
    if inside.size < 2:
        return np.zeros_like(data)
    low, high = np.percentile(inside, [0.5, 99.5])
    inside = np.clip(inside, low, high)
    sd = float(inside.std())
    if sd == 0:
        return np.zeros_like(data)
    return np.clip((data - np.float32(inside.mean())) / np.float32(sd), -CLIP_SD, CLIP_SD)


def unit_range(data: np.ndarray) -> np.ndarray:
    """Scale to 0..1 by the smallest and the largest value.

    Parameters
    ----------
    data : (...) float

    Returns
    -------
    (...) float32
    """
    data = np.asarray(data, dtype=np.float32)
    low, high = float(data.min()), float(data.max())
    return (data - np.float32(low)) / np.float32(max(high - low, 1e-12))


def white_matter(data: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Scale so that white matter lies at 0.39, as in the pictures that Vernikouskaya et al. (2023) trained on.

    White matter is the most frequent bright value in the middle of the region, 64 x 25 x 64 mm. Around the
    hypothalamus there is more of it than of any other bright tissue; in a whole head there is not.

    Parameters
    ----------
    data : (X, Y, Z) float
        Axes: right, anterior, superior; its middle lies near the hypothalamus.
    spacing_mm : (3,) float

    Returns
    -------
    (X, Y, Z) float32
        Between 0 and 1; zero stays zero.
    """
    data = np.asarray(data, dtype=np.float32)
    middle = data[tuple(_middle(n, mm, size) for n, mm, size in zip(data.shape, spacing_mm, MIDDLE_MM, strict=True))]
    bright = middle[middle > middle.mean()]
    if not bright.size or (highest := float(np.percentile(bright, 99.5))) <= 0:
        return np.zeros_like(data)
    counts, edges = np.histogram(bright, _BINS, (0, highest))
    fullest = int(ndimage.gaussian_filter1d(counts.astype(float), _SMOOTH_BINS).argmax())
    scaled = data * np.float32(2 * WHITE_MATTER_AT / (edges[fullest] + edges[fullest + 1]))
    return np.clip(scaled, 0, 1, out=scaled)


def _middle(n: int, spacing_mm: float, size_mm: float) -> slice:
    """What of an axis lies in its middle, in steps that leave few enough samples."""
    wanted = min(max(round(size_mm / spacing_mm), 1), n)
    start = (n - wanted) // 2
    return slice(start, start + wanted, -(-wanted // _SAMPLES))


def has_both_signs(data: np.ndarray) -> bool:
    """Whether an image has values of both signs, by more than the ringing of an interpolation."""
    return float(-data[data < 0].sum()) > SIGNED_SHARE * float(np.abs(data).sum())


def signed_scale(data: np.ndarray) -> np.ndarray:
    """Scale so that the mean size of what stands out is 1; zero stays zero, so that maps with a sign keep it.

    For images without negative values the same as `foreground_scale`. A susceptibility map is 0 outside of the brain,
    and has values of both signs inside.

    Parameters
    ----------
    data : (...) float

    Returns
    -------
    (...) float32
        Between -4 and 4.
    """
    data = np.asarray(data, dtype=np.float32)
    shifted = data - np.float32(max(np.percentile(data, 1), 0.0))
    return _by_what_stands_out(shifted, np.abs(shifted), -CLIP_FOREGROUND)


def masked_scale(data: np.ndarray) -> np.ndarray:
    """Scale what is not masked out: its median becomes 0, its 95th percentile 1; what is exactly 0 stays 0.

    For susceptibility maps around a small structure: their reference is arbitrary, and veins are much brighter.

    Parameters
    ----------
    data : (...) float

    Returns
    -------
    (...) float32
        Between -6 and 6.
    """
    data = np.asarray(data, dtype=np.float32)
    inside = data != 0
    if inside.sum() < 2:
        return np.zeros_like(data)
    middle, high = np.percentile(data[inside], [50, 95])
    if not high > middle:
        return np.zeros_like(data)
    scaled = np.clip((data - np.float32(middle)) / np.float32(high - middle), -CLIP_MASKED, CLIP_MASKED)
    return np.where(inside, scaled, np.float32(0))


def _by_what_stands_out(shifted: np.ndarray, size: np.ndarray, lowest: float) -> np.ndarray:
    """Divide by the mean size of what is larger than the mean; all 0 where nothing is."""
    out = size[size > size.mean()]
    if out.size == 0:
        return np.zeros_like(shifted)
    return np.clip(shifted / out.mean(), lowest, CLIP_FOREGROUND)


INTENSITY_RULES: dict[str, Rule] = {
    "foreground": lambda data, _: foreground_scale(data),
    "zscore": lambda data, _: zscore(data),
    "unit": lambda data, _: unit_range(data),
    "signed": lambda data, _: signed_scale(data),
    "masked": lambda data, _: masked_scale(data),
    "white matter": white_matter,
}
OF_SIGNED_MAPS = ("signed", "masked")  # rules that keep what is below 0

"""Intensity rules: each maps an image to a scale that does not depend on the scanner's units.

A bundle names its rule, and training and inference call the same function, so the two cannot drift apart.
Every rule is invariant to multiplication of the image by a positive factor.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

CLIP_FOREGROUND = 4.0
CLIP_SD = 4.0
SIGNED_SHARE = 0.1  # of an image that is negative, by size


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
    bright = shifted[shifted > shifted.mean()]
    if bright.size == 0:
        return np.zeros_like(shifted)
    return np.clip(shifted / bright.mean(), 0, CLIP_FOREGROUND)


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
    """Scale to 0..1 by the smallest and the largest value, as Vernikouskaya et al. (2023) did.

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
    size = np.abs(shifted)
    out = size[size > size.mean()]
    if out.size == 0:
        return np.zeros_like(shifted)
    return np.clip(shifted / out.mean(), -CLIP_FOREGROUND, CLIP_FOREGROUND)


INTENSITY_RULES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "foreground": foreground_scale,
    "zscore": zscore,
    "unit": unit_range,
    "signed": signed_scale,
}

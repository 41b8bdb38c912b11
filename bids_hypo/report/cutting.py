"""Cutting pictures out of a scan: its surroundings as a spline, and values as grey levels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from bids_hypo.image.grid import Grid, apply_affine
from bids_hypo.image.intensity import has_both_signs
from bids_hypo.image.volume import Volume

FULL = 255
SIGNED_WINDOW_PPM = (-0.1, 0.2)


def cut_box(volume: Volume, box: tuple[slice, ...]) -> Volume:
    """The part of a volume in a box of voxels."""
    affine = volume.affine.copy()
    affine[:3, 3] = apply_affine(volume.affine, np.array([s.start for s in box]))
    return Volume(volume.data[box], affine)


def near_spline(volume: Volume, centre_mm: np.ndarray, radius_mm: float) -> Volume:
    """Cubic spline coefficients of the surroundings of a point: smooth pictures at little cost."""
    index = apply_affine(np.linalg.inv(volume.affine), centre_mm)
    reach = radius_mm / volume.grid.voxel_sizes_mm
    low = np.clip(np.floor(index - reach), 0, None).astype(int)
    high = np.minimum(np.ceil(index + reach).astype(int) + 1, volume.data.shape)
    near = cut_box(volume, tuple(slice(a, b) for a, b in zip(low, high, strict=True)))
    return Volume(ndimage.spline_filter(near.data.astype(np.float32), order=3, output=np.float32), near.affine)


def sample_spline(spline: Volume, grid: Grid) -> np.ndarray:
    """Values on a grid from the coefficients that `near_spline` gives; 0 outside."""
    return _sampled(spline, grid, order=3)


def sample_linear(volume: Volume, grid: Grid) -> np.ndarray:
    """Values on a grid, interpolated linearly; 0 outside."""
    return _sampled(volume, grid, order=1)


def _sampled(source: Volume, grid: Grid, order: int) -> np.ndarray:
    matrix = np.linalg.inv(source.affine) @ grid.affine
    return np.asarray(ndimage.affine_transform(
        source.data, matrix[:3, :3], matrix[:3, 3], output_shape=grid.shape, order=order, prefilter=False
    ))  # fmt: skip


def grey_window(pictures: Sequence[np.ndarray], percentiles: tuple[float, float]) -> tuple[float, float]:
    """The values that become black and white: percentiles of what is above 0; in signed maps `SIGNED_WINDOW_PPM`."""
    values = np.concatenate([picture[picture != 0] for picture in pictures])
    if has_both_signs(values):
        return SIGNED_WINDOW_PPM
    values = values[values > 0]
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, percentiles)
    return float(low), float(max(high, low + 1e-6))


def grey_levels(values: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Values as grey levels, uint8."""
    low, high = window
    return np.round(np.clip((values - low) / (high - low), 0, 1) * FULL).astype(np.uint8)

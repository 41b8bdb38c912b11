"""Resampling between grids, through scipy's interpolators."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bids_hypo.image.grid import Grid, apply_affine, bounding_box
from bids_hypo.image.volume import Volume

# Standard deviations in voxels: of a voxel as a box, of what linear interpolation blurs; and, in voxels of the target,
# of the Gaussian that keeps noise from being folded back into the image.
_BOX_SD = 0.29
_LINEAR_SD = 0.41
_ANTI_ALIAS_SD = 0.35


def resample(volume: Volume, grid: Grid, *, outside: float = 0.0, sharp: bool = False) -> Volume:
    """Resample an image onto a grid, smoothing first where the target is coarser.

    Parameters
    ----------
    volume : Volume
    grid : Grid
        Target shape and affine (voxel to RAS mm).
    outside : float
        Value where the source has no data.
    sharp : bool
        Smooth only where interpolation leaves the image sharper than the target's voxels would, so that it looks as
        if it had been acquired with them; otherwise smoother, with less noise.

    Returns
    -------
    Volume
        float32 on ``grid``, linearly interpolated.
    """
    cropped, offset = _crop_to_target(volume, grid)
    data = cropped.data
    along = _spacing_along_source_axes(grid, volume.affine)
    source_mm = volume.grid.voxel_sizes_mm
    ratio = along / source_mm
    wider = np.where(ratio > 1.05, ratio**2 - 1, 0.0)
    sd = np.sqrt(np.maximum(_BOX_SD**2 * wider - _LINEAR_SD**2, 0.0)) if sharp else _ANTI_ALIAS_SD * np.sqrt(wider)
    if sd.any() and data.size:
        data = ndimage.gaussian_filter(data, sd, truncate=3.0, mode="nearest")
    matrix = np.linalg.inv(volume.affine) @ grid.affine
    out = ndimage.affine_transform(
        data,
        matrix[:3, :3],
        matrix[:3, 3] - offset,
        output_shape=grid.shape,
        output=np.float32,
        order=1,
        mode="constant",
        cval=outside,
        prefilter=False,
    )
    return Volume(out, grid.affine)


def resample_probability(
    probability: np.ndarray, affine: np.ndarray, grid: Grid, *, threshold: float = 1e-3
) -> tuple[np.ndarray, tuple[slice, slice, slice]]:
    """Bring probabilities back onto a scan's grid, computing only the box where they are not zero.

    Parameters
    ----------
    probability : (X, Y, Z) or (X, Y, Z, K) float
        Of one class, or of several, which share the box.
    affine : (4, 4) float, voxel to RAS mm
        Of the probability map.
    grid : Grid
        The scan's own grid.
    threshold : float
        Probabilities below it do not extend the box.

    Returns
    -------
    values : (x, y, z) or (x, y, z, K) float32
        Linearly interpolated probabilities inside the box.
    box : tuple of 3 slices
        Where the box lies in ``grid``.
    """
    several = probability if probability.ndim == 4 else probability[..., None]
    inside = bounding_box(several.max(axis=-1) > threshold)
    if inside[0].stop == 0:
        return np.zeros((0, 0, 0, *probability.shape[3:]), np.float32), inside
    corners = _box_corners(np.array([s.start - 1.0 for s in inside]), np.array([float(s.stop) for s in inside]))
    to_grid = np.linalg.inv(grid.affine) @ affine
    box = _bounding_slices(apply_affine(to_grid, corners), grid.shape)
    start = np.array([s.start for s in box], dtype=float)
    matrix = np.linalg.inv(to_grid)
    values = np.empty((*(s.stop - s.start for s in box), several.shape[-1]), np.float32, order="F")
    for k in range(several.shape[-1]):
        ndimage.affine_transform(
            np.asarray(several[..., k], dtype=np.float32),
            matrix[:3, :3],
            apply_affine(matrix, start),
            output=values[..., k],
            order=1,
            mode="constant",
            cval=0.0,
            prefilter=False,
        )
    return values.reshape(*values.shape[:3], *probability.shape[3:], order="F"), box


def _spacing_along_source_axes(grid: Grid, affine: np.ndarray) -> np.ndarray:
    """Extent of a target voxel along each source axis, in mm."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    steps = directions.T @ grid.affine[:3, :3]
    return np.sqrt((steps**2).sum(axis=1))


def _crop_to_target(volume: Volume, grid: Grid) -> tuple[Volume, np.ndarray]:
    """Cut the source to what the target needs (with a margin), so that smoothing does no work outside."""
    corners = _box_corners(np.zeros(3), np.asarray(grid.shape) - 1.0)
    in_source = apply_affine(np.linalg.inv(volume.affine) @ grid.affine, corners)
    box = _bounding_slices(in_source, volume.data.shape, margin=6)
    return Volume(volume.data[box], volume.affine), np.array([s.start for s in box], dtype=float)


def _box_corners(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.array([[(low, high)[(i >> k) & 1][k] for k in range(3)] for i in range(8)], dtype=float)


def _bounding_slices(points: np.ndarray, shape: tuple[int, ...], margin: int = 1) -> tuple[slice, slice, slice]:
    low = np.clip(np.floor(points.min(0)).astype(int) - margin, 0, np.asarray(shape))
    high = np.clip(np.ceil(points.max(0)).astype(int) + margin + 1, low, np.asarray(shape))
    return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])

"""Smooth fields held on a coarse lattice and brought to a fine grid by linear interpolation, axis by axis."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def coarse_positions(shape: tuple[int, ...], step: int) -> list[np.ndarray]:
    """Positions of the lattice nodes along each axis, in voxels of the fine grid.

    Parameters
    ----------
    shape : (3,) int
        Fine grid.
    step : int
        Voxels from node to node; the last node lies at or beyond the last voxel.

    Returns
    -------
    list of (n,) float arrays
    """
    return [np.arange(-(-(n - 1) // step) + 1, dtype=float) * step for n in shape]


def upsample(field: np.ndarray, shape: tuple[int, ...], step: int) -> np.ndarray:
    """Bring a field from lattice nodes to every voxel, linearly.

    Parameters
    ----------
    field : (nx, ny, nz) float
        Values at the nodes of `coarse_positions`.
    shape : (3,) int
        Fine grid.
    step : int

    Returns
    -------
    (X, Y, Z) float32
    """
    fine = np.asarray(field, dtype=np.float32)
    for axis in (2, 1, 0):  # the first axis last, where whole planes lie together in memory
        fine = _upsample_axis(fine, axis, shape[axis], step)
    return fine


def _upsample_axis(field: np.ndarray, axis: int, n: int, step: int) -> np.ndarray:
    # By indexing rather than by a matrix product: a threaded BLAS is slow on a busy machine and its rounding varies.
    position = np.arange(n) / step
    low = np.minimum(position.astype(int), max(field.shape[axis] - 2, 0))
    weight = (position - low).astype(np.float32).reshape([-1 if k == axis else 1 for k in range(3)])
    fine = field.take(low, axis=axis)
    above = field.take(np.minimum(low + 1, field.shape[axis] - 1), axis=axis)
    above -= fine
    above *= weight
    fine += above
    return fine


def noise_field(rng: np.random.Generator, shape: tuple[int, ...], sigma_voxels: float) -> np.ndarray:
    """Smooth noise of zero mean and unit standard deviation.

    Parameters
    ----------
    rng : numpy Generator
    shape : (3,) int
    sigma_voxels : float
        Standard deviation of the Gaussian that smooths white noise, at least 2.

    Returns
    -------
    (X, Y, Z) float32
    """
    step = max(1, int(sigma_voxels // 2))
    lattice = tuple(len(p) for p in coarse_positions(shape, step))
    values = ndimage.gaussian_filter(rng.standard_normal(lattice), sigma_voxels / step, mode="wrap")
    return upsample((values - values.mean()) / values.std(), shape, step)

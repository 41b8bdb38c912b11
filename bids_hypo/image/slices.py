"""Coronal slices with their neighbours as channels, and back."""

from __future__ import annotations

import numpy as np


def stack_neighbours(data: np.ndarray, offsets: tuple[int, ...], indices: np.ndarray | None = None) -> np.ndarray:
    """Cut a volume into slices along its second axis, each with its neighbours as channels.

    Parameters
    ----------
    data : (X, Y, Z) float
        The second axis runs through the slices (coronal, when the first is left-right and the third is up).
    offsets : tuple of int
        Positions of the channels relative to the slice, e.g. ``(-1, 0, 1)``. Slices beyond the ends are 0.
    indices : (N,) int, optional
        Which slices; all by default.

    Returns
    -------
    (N, X, Z, C) float32
    """
    n = data.shape[1]
    indices = np.arange(n) if indices is None else np.asarray(indices)
    out = np.zeros((len(indices), data.shape[0], data.shape[2], len(offsets)), np.float32)
    for channel, offset in enumerate(offsets):
        wanted = indices + offset
        valid = (wanted >= 0) & (wanted < n)
        out[valid, :, :, channel] = np.moveaxis(data[:, wanted[valid]], 1, 0)
    return out


def unstack(slices: np.ndarray) -> np.ndarray:
    """Put per-slice maps back into a volume: (Y, X, Z, K) to (X, Y, Z, K)."""
    return np.moveaxis(slices, 0, 1)

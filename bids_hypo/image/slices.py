"""Slices with their neighbours as channels, and back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

SLICE_AXES = {"coronal": (0, 1, 2), "axial": (0, 2, 1)}  # what runs left-right, through the slices and up in them


def through_slices(data: np.ndarray, slice_axis: str) -> np.ndarray:
    """Bring the axis that runs through the slices to the second place, or back again; a view.

    Parameters
    ----------
    data : (X, Y, Z[, K])
        Axes: right, anterior, superior; or as this function gave them.
    slice_axis : str
        A key of `SLICE_AXES`.

    Returns
    -------
    (X, Y, Z[, K]) for coronal slices, (X, Z, Y[, K]) for axial ones.
    """
    return data.transpose(*SLICE_AXES[slice_axis], *range(3, data.ndim))


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


def orient(slices: np.ndarray, code: str) -> np.ndarray:
    """Turn slices from our order, (N, X, Z, C) with X towards the right and Z towards the top, to that of a model.

    Parameters
    ----------
    slices : (N, X, Z, C) float
    code : str
        The directions that the model's first and second image axis run to, of R, L, S and I (of axial slices A and P in
        place of S and I): ``RS`` is ours, ``IL`` a picture with the top of the head first and the subject's left last.

    Returns
    -------
    (N, H, W, C) float
    """
    if code[0] not in "RL":
        slices = np.swapaxes(slices, 1, 2)
    return _flipped(slices, code)


def restore(slices: np.ndarray, code: str) -> np.ndarray:
    """Undo `orient`: (N, H, W, K) to (N, X, Z, K)."""
    slices = _flipped(slices, code)
    return np.swapaxes(slices, 1, 2) if code[0] not in "RL" else slices


def through(network: Callable[[np.ndarray], np.ndarray], slices: np.ndarray, code: str) -> np.ndarray:
    """Call a network on slices laid as it wants them: (N, X, Z, C) to (N, X, Z, K)."""
    if code in ("RS", "RA"):
        return network(slices)
    return restore(network(np.ascontiguousarray(orient(slices, code))), code)


def _flipped(slices: np.ndarray, code: str) -> np.ndarray:
    return slices[:, :: -1 if code[0] in "LIP" else 1, :: -1 if code[1] in "LIP" else 1]

"""Keeping the sensible part of a segmentation."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bids_hypo.image.grid import bounding_box


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest face-connected component of a mask, same shape; an empty mask stays empty."""
    parts, n = ndimage.label(mask)
    if n < 2:
        return mask
    return parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))


def fill_holes(mask: np.ndarray) -> np.ndarray:
    """Fill what is enclosed in 3-D, working in the mask's box only."""
    box = bounding_box(mask)
    out = mask.copy()
    out[box] = ndimage.binary_fill_holes(mask[box])
    return out


def label_parts(probability: np.ndarray) -> np.ndarray:
    """Give each part its most probable voxels, as many as the sum of its probabilities says.

    A threshold of 0.5 on a coarse grid makes the volume depend on how the grid happens to lie; the expected volume
    (sum of probabilities times voxel volume) hardly does. So each part takes N = round(sum of its probabilities) of the
    voxels in which it is the likeliest one (of equal parts the first), the most probable first: labels, probability map
    and table then give one and the same volume, to a voxel. A part that is the likeliest one in too few voxels, as a
    thin part between others may be, takes the rest where the sum of the probabilities of all labels loses least, and
    the part that held these voxels goes on with its next ones.

    Parameters
    ----------
    probability : (X, Y, Z, P) float

    Returns
    -------
    (X, Y, Z) int
        Position of the part, -1 where there is none.
    """
    flat = probability.reshape(-1, probability.shape[-1])
    wanted = [round(float(flat[:, k].sum(dtype=np.float64))) for k in range(flat.shape[1])]
    likeliest = flat.argmax(axis=1)
    held = np.full(len(flat), -1)
    for k, n in enumerate(wanted):
        own = np.where(likeliest == k, flat[:, k], 0)
        order = np.argsort(-own, kind="stable")[:n]
        held[order[own[order] > 0]] = k
    _fill(held, flat, wanted)
    return held.reshape(probability.shape[:-1])


def _fill(held: np.ndarray, flat: np.ndarray, wanted: list[int]) -> None:
    """Give parts that hold too few voxels the rest, in place; see `label_parts`.

    The part that lacks most comes first, and nobody takes from a part that was filled, so that this ends.
    """
    filled: list[int] = []
    while len(filled) < len(wanted):
        lacking = [0 if k in filled else n - int(np.count_nonzero(held == k)) for k, n in enumerate(wanted)]
        if max(lacking) <= 0:
            return
        k = int(np.argmax(lacking))
        filled.append(k)
        free = held < 0
        next_best = flat[free].max(axis=0, initial=0)  # what a holder gets for a voxel that it gives away
        cost = np.where(free, 0, flat[np.arange(len(flat)), held] - next_best[held])
        gain = np.where((flat[:, k] > 0) & ~np.isin(held, filled), flat[:, k] - cost, -np.inf)
        order = np.lexsort((~free, -gain))[: lacking[k]]  # of equal ones those that are nobody's
        held[order[np.isfinite(gain[order])]] = k

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


def volume_matched_mask(
    probability: np.ndarray, volume_probability: np.ndarray, voxel_volume_mm3: float
) -> tuple[np.ndarray, float]:
    """The most probable voxels, as many as the sum of the probabilities says.

    A threshold of 0.5 on a coarse grid makes the volume depend on how the grid happens to lie; the expected volume
    (sum of probabilities times voxel volume) hardly does. So the mask takes the N most probable voxels with
    N = round(sum of probabilities): mask, probability map and table then give one and the same volume, to a voxel.

    Parameters
    ----------
    probability : (...) float
        Ranks the voxels; 0 where none may be taken (for instance where the other side is more probable).
    volume_probability : (...) float
        Its sum says how many are taken.
    voxel_volume_mm3 : float

    Returns
    -------
    mask : (...) bool
    volume_mm3 : float
        Voxels of the mask times their volume.
    """
    n = round(float(volume_probability.sum(dtype=np.float64)))
    order = np.argsort(-probability.ravel(), kind="stable")[:n]
    mask = np.zeros(probability.size, bool)
    mask[order] = True
    mask = mask.reshape(probability.shape) & (probability > 0)
    return mask, float(np.count_nonzero(mask)) * voxel_volume_mm3

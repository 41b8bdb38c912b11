"""Distances in mm between the surfaces of two masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from bids_hypo.image.grid import apply_affine


@dataclass(frozen=True)
class SurfaceDistance:
    """Distances between two surfaces; NaN if one of the masks is empty.

    Attributes
    ----------
    hausdorff95_mm : float
        The larger of the two directed 95th percentiles (Maier-Hein et al. 2024, Metrics reloaded, HD95).
    mean_mm : float
        Average symmetric surface distance: the mean over the border voxels of both masks (ASSD, ibid.).
    """

    hausdorff95_mm: float
    mean_mm: float


def surface_distance(a: np.ndarray, b: np.ndarray, affine: np.ndarray) -> SurfaceDistance:
    """Distances between the border voxels of two masks on one grid.

    Border voxels are those of the mask with a neighbour through a face outside it; distances go from centre to centre.

    Parameters
    ----------
    a, b : (X, Y, Z) bool
    affine : (4, 4) float, voxel to RAS mm
        Of both; sheared or anisotropic voxels are measured as they are.

    Returns
    -------
    SurfaceDistance

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"masks of shapes {a.shape} and {b.shape} cannot be compared; resample one of them first")
    points_a, points_b = border_points_mm(a, affine), border_points_mm(b, affine)
    if not len(points_a) or not len(points_b):
        return SurfaceDistance(np.nan, np.nan)
    to_b, _ = KDTree(points_b).query(points_a)
    to_a, _ = KDTree(points_a).query(points_b)
    hausdorff = max(np.percentile(to_b, 95), np.percentile(to_a, 95))
    return SurfaceDistance(float(hausdorff), float(np.concatenate([to_a, to_b]).mean()))


def border_points_mm(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """(N, 3) float, RAS mm: centres of the mask's voxels that touch the outside through a face."""
    mask = mask > 0
    return apply_affine(affine, np.argwhere(mask & ~ndimage.binary_erosion(mask)))

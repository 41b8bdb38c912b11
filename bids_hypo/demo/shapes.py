"""Approximate signed distances (mm, negative inside) of simple bodies, evaluated on open coordinate grids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Coordinates = tuple[np.ndarray, np.ndarray, np.ndarray]
"""x (X, 1, 1), y (1, Y, 1), z (1, 1, Z) float32, RAS mm."""


def ellipsoid(at: Coordinates, centre_mm: Sequence[float], radii_mm: Sequence[float]) -> np.ndarray:
    """Distance (X, Y, Z) float32 to an ellipsoid with axes along x, y, z; exact on its surface."""
    square = sum(((axis - c) / r) ** 2 for axis, c, r in zip(at, centre_mm, radii_mm, strict=True))
    return ((np.sqrt(square) - 1) * min(radii_mm)).astype(np.float32)


def paired(at: Coordinates, centre_mm: Sequence[float], radii_mm: Sequence[float]) -> np.ndarray:
    """Distance to an ellipsoid and its mirror image on the other side of x = 0."""
    return ellipsoid((np.abs(at[0]), at[1], at[2]), centre_mm, radii_mm)


def tube(
    at: Coordinates, bottom_mm: Sequence[float], top_mm: Sequence[float], radii_mm: tuple[float, float]
) -> np.ndarray:
    """Distance to an upright tube of elliptic section (radii along x and y) between two points; open at its ends."""
    part = np.clip((at[2] - bottom_mm[2]) / (top_mm[2] - bottom_mm[2]), 0, 1)
    x0, y0 = (bottom_mm[k] + part * (top_mm[k] - bottom_mm[k]) for k in (0, 1))
    side = (np.sqrt(((at[0] - x0) / radii_mm[0]) ** 2 + ((at[1] - y0) / radii_mm[1]) ** 2) - 1) * min(radii_mm)
    ends = np.maximum(bottom_mm[2] - at[2], at[2] - top_mm[2])
    return np.maximum(side, ends).astype(np.float32)


def blend(first: np.ndarray, second: np.ndarray, width_mm: float) -> np.ndarray:
    """Union of two bodies with a fillet: the smooth minimum (quadratic) of their distances."""
    h = np.clip(width_mm - np.abs(first - second), 0, None) / width_mm
    return np.asarray(np.minimum(first, second) - h * h * (width_mm / 4), dtype=np.float32)

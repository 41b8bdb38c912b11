"""Grids: a shape and an affine, a place in space to resample to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Grid:
    """A regular lattice of voxels.

    Attributes
    ----------
    shape : (3,) int
    affine : (4, 4) float, voxel to RAS mm
    """

    shape: Shape
    affine: np.ndarray

    @property
    def voxel_sizes_mm(self) -> np.ndarray:
        """(3,) float, edge lengths of a voxel in mm."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel in mm3, right for sheared affines as well."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def axes(self) -> np.ndarray:
        """(3, 3) float: unit vectors along the axes, as columns."""
        return self.affine[:3, :3] / self.voxel_sizes_mm

    def centre_mm(self) -> np.ndarray:
        """(3,) float, the centre of the lattice in RAS mm."""
        return apply_affine(self.affine, (np.asarray(self.shape, dtype=float) - 1) / 2)


def apply_affine(affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map points (..., 3) by a (4, 4) affine."""
    return np.asarray(points, dtype=float) @ affine[:3, :3].T + affine[:3, 3]


def same_grid(a: Grid, b: Grid, *, tolerance_mm: float = 0.05) -> bool:
    """Whether two grids are one: the same shape, and every voxel in the same place."""
    if tuple(a.shape) != tuple(b.shape):
        return False
    corners = np.array(list(product(*[(0.0, n - 1.0) for n in a.shape])))
    apart = apply_affine(a.affine, corners) - apply_affine(b.affine, corners)
    return bool(np.linalg.norm(apart, axis=1).max() < tolerance_mm)


def box_grid(centre_mm: np.ndarray, axes: np.ndarray, shape: Shape, spacing_mm: np.ndarray) -> Grid:
    """A grid of a given shape and spacing around a centre.

    Parameters
    ----------
    centre_mm : (3,) float, RAS mm
        Where the middle of the lattice goes.
    axes : (3, 3) float
        Columns are the unit directions (RAS) of the grid's first, second and third axis.
    shape : (3,) int
    spacing_mm : (3,) float

    Returns
    -------
    Grid
    """
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(axes, dtype=float) * np.asarray(spacing_mm, dtype=float)
    affine[:3, 3] = np.asarray(centre_mm, dtype=float) - affine[:3, :3] @ ((np.asarray(shape, dtype=float) - 1) / 2)
    return Grid(as_shape(shape), affine)


def with_voxels(grid: Grid, sizes_mm: tuple[float, float, float]) -> Grid:
    """A grid of the same orientation, centre and (rounded up) extent with voxels of another size."""
    shape = as_shape(np.ceil(np.asarray(grid.shape) * grid.voxel_sizes_mm / sizes_mm))
    return box_grid(grid.centre_mm(), grid.axes, shape, np.asarray(sizes_mm))


def bounding_box(mask: np.ndarray, margin: int | np.ndarray = 0) -> tuple[slice, slice, slice]:
    """The box around what is not 0 in a mask, cut at the edges of the image; empty slices for an empty mask.

    Parameters
    ----------
    mask : (X, Y, Z) bool or int
    margin : int or (3,) int
        Voxels added on each side.

    Returns
    -------
    tuple of 3 slices
    """
    box = [slice(0, n) for n in mask.shape]
    margins = np.broadcast_to(margin, 3)
    for axis in range(3):  # each axis looks only at what the ones before have left: most of a head image is empty
        others = tuple(k for k in range(3) if k != axis)
        found = np.flatnonzero(mask[tuple(box)].any(axis=others))
        if not len(found):
            return slice(0, 0), slice(0, 0), slice(0, 0)
        box[axis] = slice(int(found[0]), int(found[-1]) + 1)
    x, y, z = (slice(max(s.start - int(m), 0), s.stop + int(m)) for s, m in zip(box, margins, strict=True))
    return x, y, z


def as_shape(numbers: Iterable[float]) -> Shape:
    """Three whole numbers as the shape of a grid."""
    x, y, z = (int(n) for n in numbers)
    return x, y, z

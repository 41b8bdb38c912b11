"""Deformations from the template to a subject whose Jacobian determinants are known.

The way from template to subject is ``head position o smooth warp o local change``:

- *local change*: an ellipsoid core around the whole hypothalamus is scaled about its centre by a linear factor k, one
  for each side, so every region inside a half of the core changes its volume by exactly k^3; outside the core the
  change fades to nothing.
- *smooth warp*: random, 1 to 3 mm; its inverse is given in closed form (cubic B-splines), as resampling needs it.
- *head position*: rotation, one scale, translation.

All points are in RAS mm; "template" is MNI152 space, "subject" the scanner space of the written scans.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bids_hypo.demo.lattice import coarse_positions, upsample
from bids_hypo.image.grid import Grid, apply_affine

CORE_CENTRE_MM = np.array([0.0, -4.0, -11.0])
CORE_RADII_MM = np.array([10.0, 10.0, 9.0])
"""Semi-axes of the core, inside which the change is uniform on each side; it holds the whole hypothalamus."""
FADE_END = 1.6
"""Where the change has faded, in multiples of the core."""
BLEND_MM = 1.5
"""Half the width of the strip about the midline, in the third ventricle, where one side's k becomes the other's."""
CENTRES_MM = {"L": np.array([-4.8, -4.0, -11.0]), "R": np.array([4.8, -4.0, -11.0])}
REFERENCE_RADII_MM = np.array([2.8, 6.2, 5.2])
"""Reference ellipsoids (378 mm3 a side) whose volumes are the truth; each lies inside its half of the core."""

_NODE_MM = 12.0
_NODES_ORIGIN_MM = np.array([-132.0, -156.0, -168.0])
_NODES_SHAPE = (23, 25, 25)
_COORDINATE_STEP = 4


@dataclass(frozen=True)
class Warp:
    """A smooth random displacement, from warped to unwarped template space.

    Attributes
    ----------
    nodes_mm : (3, 23, 25, 25) float
        Displacements in mm at nodes 12 mm apart, between which cubic B-splines interpolate.
    """

    nodes_mm: np.ndarray

    def displacement_mm(self, points_mm: np.ndarray) -> np.ndarray:
        """Displacement (N, 3) in mm at points (N, 3) of warped template space."""
        where = ((np.asarray(points_mm, dtype=float) - _NODES_ORIGIN_MM) / _NODE_MM).T
        return np.stack([ndimage.map_coordinates(axis, where, order=3, mode="nearest") for axis in self.nodes_mm], -1)

    @property
    def amplitude_mm(self) -> float:
        """Longest displacement at any node, in mm."""
        return float(np.linalg.norm(self.nodes_mm, axis=0).max())


@dataclass(frozen=True)
class Deformation:
    """The way between template and subject.

    Attributes
    ----------
    position : (4, 4) float, template mm to subject mm
        Rotation times one scale, and translation.
    warp : Warp
    core_scale : mapping of side ("L", "R") to float
        Linear factor k of the planted change; the volume of that half of the core changes by k^3.
    """

    position: np.ndarray
    warp: Warp
    core_scale: Mapping[str, float]


def random_warp(rng: np.random.Generator, amplitude_mm: float, sigma_mm: float = 24.0) -> Warp:
    """A warp of random shape and of a given amplitude.

    Parameters
    ----------
    rng : numpy Generator
    amplitude_mm : float
        Longest displacement at a node, 0 for none; up to 3 mm keeps the map one-to-one.
    sigma_mm : float
        Gaussian that smooths the white noise that the displacements start from.

    Returns
    -------
    Warp
    """
    sigma = sigma_mm / _NODE_MM
    nodes = np.stack([ndimage.gaussian_filter(rng.standard_normal(_NODES_SHAPE), sigma, mode="wrap") for _ in range(3)])
    return Warp(nodes * (amplitude_mm / np.linalg.norm(nodes, axis=0).max()))


def to_template(deformation: Deformation, points_mm: np.ndarray) -> np.ndarray:
    """Map subject points (N, 3) to the template (N, 3), both RAS mm; exact."""
    placed = apply_affine(np.linalg.inv(deformation.position), points_mm)
    return _undo_local(deformation.core_scale, placed + deformation.warp.displacement_mm(placed))


def to_subject(deformation: Deformation, points_mm: np.ndarray) -> np.ndarray:
    """Map template points (N, 3) to the subject (N, 3), both RAS mm."""
    return apply_affine(
        deformation.position, _apply_warp(deformation.warp, _do_local(deformation.core_scale, points_mm))
    )


def template_coordinates(deformation: Deformation, grid: Grid) -> np.ndarray:
    """Template position of every voxel of a subject's grid.

    The smooth part is computed at every fourth voxel and interpolated (error below 0.03 mm), the local change at
    every voxel.

    Parameters
    ----------
    deformation : Deformation
    grid : Grid, subject space

    Returns
    -------
    (3, X, Y, Z) float32, RAS mm in template space
    """
    nodes = np.meshgrid(*coarse_positions(grid.shape, _COORDINATE_STEP), indexing="ij")
    lattice = nodes[0].shape
    placed = apply_affine(np.linalg.inv(deformation.position) @ grid.affine, np.stack(nodes, -1).reshape(-1, 3))
    coarse = placed + deformation.warp.displacement_mm(placed)
    fine = np.stack([upsample(coarse[:, k].reshape(lattice), grid.shape, _COORDINATE_STEP) for k in range(3)])
    reach = FADE_END * CORE_RADII_MM
    near = np.logical_and.reduce([np.abs(fine[k] - CORE_CENTRE_MM[k]) < reach[k] for k in range(3)])
    fine[:, near] = _undo_local(deformation.core_scale, fine[:, near].T).T
    return fine


def warp_factor(warp: Warp, points_mm: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Mean Jacobian determinant of the warp over points, i.e. how much a region made of them grows.

    Parameters
    ----------
    warp : Warp
    points_mm : (N, 3) float, RAS mm
        Evenly spread over the region, before the warp.
    weights : (N,) float, optional

    Returns
    -------
    float
    """
    warped = _apply_warp(warp, points_mm)
    step = 0.5
    columns = [
        (warp.displacement_mm(warped + step * e) - warp.displacement_mm(warped - step * e)) / (2 * step)
        for e in np.eye(3)
    ]
    inverse_jacobian = np.eye(3) + np.stack(columns, axis=-1)
    return float(np.average(1 / np.linalg.det(inverse_jacobian), weights=weights))


def core_scale_for(warp: Warp, side: str, factor: float) -> float:
    """Linear core scale with which local change and warp together change the reference ellipsoid by a factor.

    Parameters
    ----------
    warp : Warp
    side : {"L", "R"}
    factor : float
        Wanted volume of the reference ellipsoid after both, over its volume before.

    Returns
    -------
    float
    """
    offsets = CENTRES_MM[side] + ellipsoid_points(REFERENCE_RADII_MM) - CORE_CENTRE_MM
    scale = 1.0
    for _ in range(5):  # the warp hardly differs between the scaled ellipsoids: the change per round falls below 1e-9
        scale = float(np.cbrt(factor / warp_factor(warp, CORE_CENTRE_MM + scale * offsets)))
    return scale


def reference_volume_mm3() -> float:
    """Volume of one reference ellipsoid in template space, in mm3."""
    return float(4 / 3 * np.pi * np.prod(REFERENCE_RADII_MM))


def reference_mask(template_mm: np.ndarray, side: str) -> np.ndarray:
    """Which template points (3, ...) in RAS mm lie inside the reference ellipsoid of a side; bool (...)."""
    centre = CENTRES_MM[side].reshape(3, *[1] * (template_mm.ndim - 1))
    radii = REFERENCE_RADII_MM.reshape(centre.shape)
    return np.asarray((((template_mm - centre) / radii) ** 2).sum(axis=0) <= 1)


def ellipsoid_points(radii_mm: np.ndarray, per_axis: int = 15) -> np.ndarray:
    """Points (N, 3) in mm spread evenly over an ellipsoid about the origin."""
    line = (np.arange(per_axis) + 0.5) / per_axis * 2 - 1
    unit = np.stack(np.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
    return unit[(unit**2).sum(axis=1) <= 1] * radii_mm


def _smooth_step(t: np.ndarray) -> np.ndarray:
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def _local_shift_mm(core_scale: Mapping[str, float], points_mm: np.ndarray) -> np.ndarray:
    """How far the local change moves points (N, 3) of template space."""
    offset = points_mm - CORE_CENTRE_MM
    s = np.linalg.norm(offset / CORE_RADII_MM, axis=1)
    right = _smooth_step((offset[:, 0] + BLEND_MM) / (2 * BLEND_MM))
    scale = core_scale["L"] * (1 - right) + core_scale["R"] * right
    return offset * ((scale - 1) * (1 - _smooth_step((s - 1) / (FADE_END - 1))))[:, None]


def _do_local(core_scale: Mapping[str, float], points_mm: np.ndarray) -> np.ndarray:
    points = np.asarray(points_mm, dtype=float)
    return points + _local_shift_mm(core_scale, points)


def _undo_local(core_scale: Mapping[str, float], points_mm: np.ndarray) -> np.ndarray:
    """Solve p + shift(p) = point for p; contracts because the change is a few percent over many millimetres."""
    points = np.asarray(points_mm, dtype=float)
    before = points.copy()
    for _ in range(14):
        before = points - _local_shift_mm(core_scale, before)
    return before


def _apply_warp(warp: Warp, points_mm: np.ndarray) -> np.ndarray:
    """Solve q + v(q) = point for q; contracts because the warp's gradient is well below 1."""
    points = np.asarray(points_mm, dtype=float)
    warped = points.copy()
    for _ in range(9):
        warped = points - warp.displacement_mm(warped)
    return warped

"""Smooth random displacement fields and random affines, for training images."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.interpolate import BSpline

from bids_hypo.image.grid import apply_affine
from bids_hypo.image.volume import Volume


def spline_basis(n_points: int, n_controls: int) -> np.ndarray:
    """Uniform cubic B-spline weights: (n_points, n_controls), rows sum to 1."""
    knots = np.arange(-3, n_controls + 1, dtype=float)
    at = np.linspace(0, n_controls - 3 - 1e-9, n_points)
    return BSpline.design_matrix(at, knots, 3).toarray().astype(np.float32)


def smooth_field(shape: tuple[int, ...], n_controls: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A smooth random field of about unit standard deviation.

    Parameters
    ----------
    shape : (D,) int
        Shape of the result.
    n_controls : (D,) int
        Control points along each axis (at least 4).
    rng : numpy Generator

    Returns
    -------
    shape float32
    """
    field = rng.standard_normal(n_controls, dtype=np.float32) * np.float32(1.5 ** len(shape) / 1.5)
    for axis, (n, k) in enumerate(zip(shape, n_controls, strict=True)):
        basis = spline_basis(n, k)
        field = np.moveaxis(np.tensordot(basis, field, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(field)


def random_affine(
    rng: np.random.Generator, *, max_rotation_deg: float, scale_sd: float, max_shear: float, max_shift: float
) -> np.ndarray:
    """A random rotation about all axes, anisotropic scale, shear and shift.

    Parameters
    ----------
    rng : numpy Generator
    max_rotation_deg : float
        Bound of the rotation about each axis.
    scale_sd : float
        Standard deviation of the logarithm of the common scale; axes vary by a third of it.
    max_shear, max_shift : float
        Bounds; the shift in the unit of the grid.

    Returns
    -------
    (4, 4) float
    """
    from scipy.spatial.transform import Rotation

    angles = rng.uniform(-max_rotation_deg, max_rotation_deg, 3)
    rotation = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    scale = np.exp(rng.normal(0, scale_sd) + rng.normal(0, scale_sd / 3, 3))
    shear = np.eye(3)
    shear[np.triu_indices(3, 1)] = rng.uniform(-max_shear, max_shear, 3)
    affine = np.eye(4)
    affine[:3, :3] = rotation @ shear @ np.diag(scale)
    affine[:3, 3] = rng.uniform(-max_shift, max_shift, 3)
    return affine


def source_stretch(distance_mm: np.ndarray, factor: float, core_mm: float) -> np.ndarray:
    """By what the distance from a centre is multiplied to find what a shrunken place shows.

    Parameters
    ----------
    distance_mm : (...) float
        From the centre, after shrinking.
    factor : float
        Of the volume inside the core; above 1 it grows.
    core_mm : float
        Radius within which everything shrinks alike; from twice of it on nothing does.

    Returns
    -------
    (...) float, 1 where nothing moves.
    """
    beyond = np.clip((distance_mm - core_mm) / core_mm, 0, 1)
    share = (1 - beyond) ** 2 * (1 + 2 * beyond)  # 1 in the core, 0 outside, smooth at both ends
    return 1 + share * (1 / np.cbrt(factor) - 1)


def contract(volume: Volume, centre_mm: np.ndarray, factor: float, *, core_mm: float = 10.0) -> Volume:
    """Shrink what lies around a point, smoothly back to no change at twice the radius of the core.

    Parameters
    ----------
    volume : Volume
    centre_mm : (3,) float, RAS mm
    factor : float
        Of the volume inside the core; lengths change by its cube root.
    core_mm : float
        Radius within which everything shrinks alike.

    Returns
    -------
    Volume
        On the same grid, interpolated by cubic splines.
    """
    index = np.moveaxis(np.indices(volume.data.shape, dtype=np.float32), 0, -1)
    away = apply_affine(volume.affine, index) - centre_mm
    stretch = source_stretch(np.linalg.norm(away, axis=-1), factor, core_mm)
    near = stretch != 1
    source = centre_mm + away[near] * stretch[near, None]
    where = apply_affine(np.linalg.inv(volume.affine), source)
    data = volume.data.copy()
    data[near] = ndimage.map_coordinates(volume.data, where.T, order=3, mode="nearest")
    return Volume(data, volume.affine)

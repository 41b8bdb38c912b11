"""How a susceptibility map comes about: the field, its errors, the mask and the inversion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bids_hypo.train.deform import smooth_field
from bids_hypo.train.dipole import SMOOTHED, THRESHOLD, field_of, invert
from bids_hypo.train.headmaps import CSF, is_inside
from bids_hypo.train.susceptibility import brain_mask

DIRECT = "direct"  # no inversion: as if measured in many directions (COSMOS)
_FINE_MM = 0.9  # a slice is made of layers about that thick
_AIR_PPM = 9.0
_CUT_MM = 25.0
_NOISE_PPM = (0.0006, 0.006)  # of the field


@dataclass(frozen=True)
class Acquisition:
    """Voxels and place of a scan, and what its inversion does.

    Attributes
    ----------
    fine_mm : (3,) float
        Voxels that the head is laid on.
    layers : int
        That make a slice.
    turn : (3, 3) float
        From the axes of the image to those of the head.
    direction : (3,) float
        Of the main field in the axes of the image.
    method : str
        ``threshold``, ``smoothed`` or ``direct``.
    strength : float
        See `bids_hypo.train.dipole.invert`.
    """

    fine_mm: np.ndarray
    layers: int
    turn: np.ndarray
    direction: np.ndarray
    method: str
    strength: float


def draw_acquisition(rng: np.random.Generator, spacing_mm: float | None = None) -> Acquisition:
    """Draw voxels of 0.6 to 1.1 mm in slices of 0.6 to 3 mm, turned by up to 20 degrees, and an inversion."""
    in_slice = rng.uniform(0.6, 1.1) if spacing_mm is None else spacing_mm
    slice_mm = 3.0 if rng.random() < 0.2 else max(rng.uniform(0.6, 3.0), in_slice * 0.9)
    layers = max(round(slice_mm / _FINE_MM), 1)
    turn = Rotation.from_euler("xyz", rng.normal(0, (9, 3, 3)), degrees=True).as_matrix()
    tilt = Rotation.from_euler("xy", rng.normal(0, (8, 4)), degrees=True).as_matrix()
    method = str(rng.choice((THRESHOLD, SMOOTHED, DIRECT), p=(0.65, 0.2, 0.15)))
    strength = rng.uniform(0.1, 0.22) if method == THRESHOLD else rng.uniform(0.06, 0.16)
    fine = np.array([in_slice, in_slice, slice_mm / layers])
    return Acquisition(fine, layers, turn, tilt[:, 2], method, float(strength))


def acquire(
    chi: np.ndarray, labels: np.ndarray, affine: np.ndarray, scan: Acquisition, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Make a map of susceptibilities as a scanner and the programs behind it would.

    Parameters
    ----------
    chi : (X, Y, Z) float32, ppm
        The truth on the fine grid.
    labels : (X, Y, Z) int
        FreeSurfer numbers.
    affine : (4, 4) float
        Of the fine grid.
    scan : Acquisition
    rng : numpy Generator

    Returns
    -------
    image : (X, Y, Z') float32, ppm
        Exactly 0 outside of the mask.
    affine : (4, 4) float
    """
    spacing = scan.fine_mm * (1, 1, scan.layers)
    inside = is_inside(labels)
    mask = _mask(_slices(_brain(labels, inside, scan.fine_mm, rng), scan.layers), spacing, rng)
    if scan.method == DIRECT:
        found = _slices(chi, scan.layers)
    else:
        # what background removal leaves of the bones' and the air's field
        left_over = np.float32(rng.uniform(0, 0.006) * _AIR_PPM) * (~inside).astype(np.float32)
        field = _slices(field_of(chi + left_over, scan.fine_mm, scan.direction), scan.layers)
        found = invert(_with_errors(field, mask, rng) * mask, spacing, scan.direction, method=scan.method,
                       strength=scan.strength)  # fmt: skip
    found = _finished(found, mask, rng)
    affine = affine.copy()
    affine[:3, 3] += affine[:3, 2] * (scan.layers - 1) / 2
    affine[:3, 2] *= scan.layers
    return found, affine


def _slices(data: np.ndarray, layers: int) -> np.ndarray:
    """Mean over the layers of each slice."""
    return data.reshape(*data.shape[:2], -1, layers).mean(axis=3, dtype=np.float32)


def _brain(labels: np.ndarray, inside: np.ndarray, spacing_mm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a brain extraction keeps: all inside the skull, or the brain with its sulci: (X, Y, Z) float32."""
    if rng.random() < 0.4:
        return inside.astype(np.float32)
    brain = (inside & (labels != CSF)).astype(np.float32)
    whole = ndimage.gaussian_filter(brain, rng.uniform(1.5, 4.0) / spacing_mm, truncate=2.0) > rng.uniform(0.3, 0.5)
    return ndimage.binary_fill_holes(whole).astype(np.float32)


def _mask(share: np.ndarray, spacing_mm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    kind = rng.random()
    depth = ndimage.distance_transform_edt(share > 0.5, sampling=spacing_mm) if kind < 0.65 else None
    if depth is not None:
        mask = depth > rng.uniform(0, 4)
    else:
        mask = brain_mask(share, spacing_mm, rng) if kind < 0.93 else share > 0.5
    if rng.random() < 0.2:  # the lowest slices were not acquired, or not kept
        mask[:, :, : int(rng.uniform(0, _CUT_MM) / spacing_mm[2])] = False
    return mask


def _with_errors(field: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise, more of it in places; single wrong phases; a field from outside that was not removed."""
    shape = field.shape
    noise = rng.standard_normal(shape, dtype=np.float32) * np.float32(
        np.exp(rng.uniform(np.log(0.0006), np.log(0.006)))
    )
    uneven = smooth_field(shape, tuple(max(4, n // 24) for n in shape), rng)
    noise *= np.exp(np.float32(rng.uniform(0, 0.4)) * uneven)
    drift = smooth_field(shape, (5, 5, 5), rng) * np.float32(rng.uniform(0, 0.01))
    n_wrong = rng.poisson(rng.uniform(0, 12))
    wrong = np.zeros(shape, np.float32)
    where = tuple(rng.integers(0, n, n_wrong) for n in shape)
    wrong[where] = rng.normal(0, 0.08, n_wrong)
    return (field + noise + drift + wrong) * mask


def _finished(found: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Smoothing, residual noise, gain and reference, and 0 outside of the mask."""
    if rng.random() < 0.35:
        found = ndimage.gaussian_filter(found, rng.uniform(0, 0.6), truncate=2.5)
    found = found + rng.standard_normal(found.shape, dtype=np.float32) * np.float32(rng.uniform(0.001, 0.006))
    found *= np.float32(rng.uniform(0.75, 1.1))
    if mask.any():
        found -= found[mask].mean() + np.float32(rng.uniform(-0.03, 0.03) if rng.random() < 0.5 else 0)
    return (found * mask).astype(np.float32)

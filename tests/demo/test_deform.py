"""Deformations: they are one-to-one, and their volumes are what they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bids_hypo.demo import deform
from bids_hypo.demo.deform import (
    BLEND_MM,
    CENTRES_MM,
    CORE_CENTRE_MM,
    CORE_RADII_MM,
    FADE_END,
    REFERENCE_RADII_MM,
    Deformation,
)
from bids_hypo.image.grid import Grid


def a_deformation(amplitude_mm: float = 3.0, left: float = 0.93, right: float = 1.04, seed: int = 4) -> Deformation:
    position = np.eye(4)
    position[:3, :3] = 0.9 * Rotation.from_euler("xyz", [6, -4, 5], degrees=True).as_matrix()
    position[:3, 3] = [5, -7, 3]
    warp = deform.random_warp(np.random.default_rng(seed), amplitude_mm)
    return Deformation(position, warp, {"L": left, "R": right})


def points_about_the_regions(n: int = 4000) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([rng.uniform(-1, 1, (n, 3)) * [12, 15, 13] + [0, -4, -11], rng.uniform(-80, 80, (n, 3))])


def test_to_template_undoes_to_subject() -> None:
    deformation, points = a_deformation(), points_about_the_regions()
    there = deform.to_subject(deformation, points)
    assert np.linalg.norm(there - points, axis=1).max() > 5
    np.testing.assert_allclose(deform.to_template(deformation, there), points, atol=2e-3)


def test_without_anything_nothing_moves() -> None:
    deformation = Deformation(np.eye(4), deform.random_warp(np.random.default_rng(0), 0.0), {"L": 1.0, "R": 1.0})
    points = points_about_the_regions(100)
    np.testing.assert_allclose(deform.to_subject(deformation, points), points, atol=1e-9)


@pytest.mark.parametrize("amplitude_mm", [1.0, 3.0])
def test_warp_has_the_asked_amplitude(amplitude_mm: float) -> None:
    warp = deform.random_warp(np.random.default_rng(2), amplitude_mm)
    moved = np.linalg.norm(warp.displacement_mm(points_about_the_regions()), axis=1)
    assert warp.amplitude_mm == pytest.approx(amplitude_mm)
    assert 0.3 * amplitude_mm < moved.max() <= 1.05 * amplitude_mm


@pytest.mark.parametrize("side", ["L", "R"])
def test_local_change_scales_its_half_of_the_core_uniformly(side: str) -> None:
    warp = deform.random_warp(np.random.default_rng(0), 0.0)
    deformation = Deformation(np.eye(4), warp, {"L": 1.0, "R": 1.0, side: 0.9})
    core = deform.ellipsoid_points(CORE_RADII_MM, 9)
    sign = {"L": -1, "R": 1}[side]
    own, other = core[sign * core[:, 0] > BLEND_MM], core[sign * core[:, 0] < -BLEND_MM]
    there = CORE_CENTRE_MM + own
    np.testing.assert_allclose(deform.to_subject(deformation, there), CORE_CENTRE_MM + 0.9 * own, atol=1e-9)
    there = CORE_CENTRE_MM + other
    np.testing.assert_allclose(deform.to_subject(deformation, there), there, atol=1e-12)
    beyond = CORE_CENTRE_MM + np.eye(3) * CORE_RADII_MM * FADE_END * 1.001
    np.testing.assert_allclose(deform.to_subject(deformation, beyond), beyond, atol=1e-12)
    reference = CENTRES_MM[side] + deform.ellipsoid_points(REFERENCE_RADII_MM) - CORE_CENTRE_MM
    assert (np.linalg.norm(reference / CORE_RADII_MM, axis=1) < 1).all()
    assert (sign * reference[:, 0] > BLEND_MM).all()


@pytest.mark.parametrize("factor", [0.8, 0.88, 1.0, 1.1])
def test_wanted_factor_is_the_volume_that_a_fine_grid_counts(factor: float) -> None:
    warp = deform.random_warp(np.random.default_rng(11), 3.0)
    scales = {side: deform.core_scale_for(warp, side, factor) for side in CENTRES_MM}
    deformation = Deformation(np.eye(4), warp, scales)
    step = 0.4
    line = [np.arange(c - h, c + h, step) for c, h in zip((0, -4, -11), (14, 14, 14), strict=True)]
    points = np.stack(np.meshgrid(*line, indexing="ij"), -1).reshape(-1, 3)
    at_template = deform.to_template(deformation, points).T
    for side in CENTRES_MM:
        counted_mm3 = deform.reference_mask(at_template, side).sum() * step**3
        assert counted_mm3 / deform.reference_volume_mm3() == pytest.approx(factor, rel=0.01)


def test_grid_coordinates_agree_with_the_exact_map() -> None:
    deformation = a_deformation()
    axes = np.array([[0, 0, 1], [-1, 0, 0], [0, 1, 0]]) * [1.3, 1.1, 0.9]
    affine = np.eye(4)
    affine[:3, :3] = axes
    affine[:3, 3] = np.array([2, -10, -6]) - axes @ [15, 18, 20]
    grid = Grid((31, 37, 42), affine)
    fast = deform.template_coordinates(deformation, grid).reshape(3, -1).T
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), -1).reshape(-1, 3)
    exact = deform.to_template(deformation, index @ affine[:3, :3].T + affine[:3, 3])
    assert np.abs(fast - exact).max() < 0.03

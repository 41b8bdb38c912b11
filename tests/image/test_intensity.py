"""Intensity rules do not depend on the scanner's units."""

import numpy as np
import pytest

from bids_hypo.image.grid import box_grid
from bids_hypo.image.intensity import INTENSITY_RULES, foreground_scale, signed_scale, white_matter, zscore
from bids_hypo.image.resample import resample
from tests.phantoms import affine_for, inside_ellipsoid, phantom_head, world_mm


def _image():
    rng = np.random.default_rng(3)
    image = np.zeros((20, 20, 20), np.float32)
    image[4:16, 4:16, 4:16] = rng.uniform(20, 180, (12, 12, 12))
    return image


@pytest.mark.parametrize("rule", INTENSITY_RULES)
@pytest.mark.parametrize("factor", [0.25, 3.0, 1000.0])
def test_scale_does_not_matter(rule, factor):
    image = _image()
    apply, spacing = INTENSITY_RULES[rule], (1.0, 1.0, 1.0)
    np.testing.assert_allclose(apply(image * np.float32(factor), spacing), apply(image, spacing), atol=2e-4)


@pytest.mark.parametrize("rule", INTENSITY_RULES)
def test_constant_images_do_not_fail(rule):
    assert np.isfinite(INTENSITY_RULES[rule](np.full((5, 5, 5), 7.0), (1.0, 1.0, 1.0))).all()


def test_zscore_ignores_what_was_masked_out():
    image = _image()
    z = zscore(image)[4:16, 4:16, 4:16]
    assert abs(float(z.mean())) < 0.02
    assert float(z.std()) == pytest.approx(1, abs=0.03)


def test_the_rule_for_signed_maps_keeps_zero_and_sign_and_knows_no_unit():
    rng = np.random.default_rng(0)
    ppm = np.zeros((20, 20, 20))
    ppm[5:15, 5:15, 5:15] = rng.normal(0.0, 0.03, (10, 10, 10))
    scaled = signed_scale(ppm)
    np.testing.assert_array_equal(np.sign(scaled), np.sign(ppm))
    np.testing.assert_allclose(signed_scale(1000 * ppm), scaled, rtol=1e-4, atol=1e-6)
    assert -4 <= scaled.min() < -1 and 1 < scaled.max() <= 4


def test_the_rule_for_signed_maps_is_that_of_the_foreground_where_nothing_is_negative():
    rng = np.random.default_rng(1)
    image = rng.uniform(3, 5, (20, 20, 20))
    image[5:15, 5:15, 5:15] += rng.uniform(20, 90, (10, 10, 10))
    different = np.abs(signed_scale(image) - foreground_scale(image))
    assert different.max() < 0.02
    assert not signed_scale(np.full((4, 4, 4), 7.0)).any()


GRIDS = {
    "region": ((128, 25, 128), (0.5, 1.0, 0.5)),
    "fine": ((320, 10, 320), (0.2, 2.0, 0.2)),
    "head": ((128,) * 3, (2.0,) * 3),
}


@pytest.mark.parametrize("grid", GRIDS)
def test_white_matter_lies_at_its_place_whatever_else_is_in_the_picture(grid):
    """Grey matter and fluid in the middle, and far more bright fat outside of it."""
    shape = (100, 120, 110)
    scan = phantom_head(shape, affine_for(voxel_sizes=(1.8, 1.8, 1.8), shape=shape), noise_sd=3.0)
    points = world_mm(scan.data.shape, scan.affine)
    scan.data[inside_ellipsoid(points, (0, -4, -8), (9, 12, 8))] = 65.0
    scan.data[inside_ellipsoid(points, (0, 5, -25), (6, 6, 6))] = 320.0
    scan.data[np.abs(points[..., 2]) > 78] = 180.0
    shape, spacing = GRIDS[grid]
    region = resample(scan, box_grid(np.array([0.0, -3, -2]), np.eye(3), shape, np.array(spacing))).data
    scaled = white_matter(region, spacing)
    assert scaled.max() == 1
    for value, expected in ((95, 0.39), (65, 0.39 * 65 / 95), (20, 0.39 * 20 / 95)):
        assert np.median(scaled[np.abs(region - value) < 4]) == pytest.approx(expected, abs=0.01)


def test_masked_values_do_not_depend_on_unit_and_reference():
    rng = np.random.default_rng(0)
    data = np.zeros((20, 20, 20), np.float32)
    data[4:16, 4:16, 4:16] = rng.normal(0.01, 0.03, (12, 12, 12))
    scaled, inside = INTENSITY_RULES["masked"](data, (1.0, 1.0, 1.0)), data != 0
    assert (scaled[~inside] == 0).all() and np.abs(scaled).max() <= 6
    assert np.median(scaled[inside]) == pytest.approx(0, abs=1e-3)
    assert np.percentile(scaled[inside], 95) == pytest.approx(1, abs=1e-3)
    other = np.where(inside, 1000 * (data + 0.05), 0)
    np.testing.assert_allclose(INTENSITY_RULES["masked"](other, (1.0, 1.0, 1.0)), scaled, atol=1e-4)
    assert not INTENSITY_RULES["masked"](np.zeros((3, 3, 3)), (1.0, 1.0, 1.0)).any()

"""Intensity rules do not depend on the scanner's units."""

import numpy as np
import pytest

from bids_hypo.image.intensity import INTENSITY_RULES, foreground_scale, signed_scale, zscore


def _image():
    rng = np.random.default_rng(3)
    image = np.zeros((20, 20, 20), np.float32)
    image[4:16, 4:16, 4:16] = rng.uniform(20, 180, (12, 12, 12))
    return image


@pytest.mark.parametrize("rule", INTENSITY_RULES)
@pytest.mark.parametrize("factor", [0.25, 3.0, 1000.0])
def test_scale_does_not_matter(rule, factor):
    image = _image()
    apply = INTENSITY_RULES[rule]
    np.testing.assert_allclose(apply(image * np.float32(factor)), apply(image), atol=2e-4)


@pytest.mark.parametrize("rule", INTENSITY_RULES)
def test_constant_images_do_not_fail(rule):
    assert np.isfinite(INTENSITY_RULES[rule](np.full((5, 5, 5), 7.0))).all()


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

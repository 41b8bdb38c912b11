"""Intensity rules do not depend on the scanner's units."""

import numpy as np
import pytest

from bids_hypo.image.intensity import INTENSITY_RULES, zscore


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

"""Intensities of tissues in images that are not T1w, thick slices, and noise outside of the head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bids_hypo.train.artefacts import thick_slices
from bids_hypo.train.contrasts import MILD, NUCLEI, SynthesisOptions, tissue_means
from bids_hypo.train.headmaps import load_head_map
from bids_hypo.train.synthesis import make_examples, render, warp_codes

LABELS = np.array([0, 2, 3, 4, 10, 12, 24, 27, 41, 42, 28, 60, 59, 507, 515])
SPACING_MM = np.full(3, 3.0)


def _means(seed: int, options: SynthesisOptions) -> dict[int, float]:
    drawn = tissue_means(LABELS, np.random.default_rng(seed), options)
    return dict(zip(LABELS.tolist(), drawn.tolist(), strict=True))


def test_grouped_contrast_gives_any_order_of_the_tissues():
    options = SynthesisOptions(grouped_contrast=1.0)
    drawn = [_means(seed, options) for seed in range(60)]
    orders = {tuple(np.argsort([d[2], d[3], d[24]])) for d in drawn}
    assert len(orders) == 6
    for d in drawn:
        assert d[41] == pytest.approx(d[2], rel=0.2) and d[42] == pytest.approx(d[3], rel=0.2)
        low, high = sorted((d[2], d[3]))
        assert 0.7 * low <= d[10] <= 1.3 * high
        assert d[0] < 0.1


def test_nuclei_look_much_like_what_they_lie_in_where_iron_does_not_show():
    for seed in range(20):
        d = _means(seed, MILD)
        assert 0.5 < d[27] / d[NUCLEI[27]] < 1.3 and d[59] == pytest.approx(d[27], rel=0.1)


def test_options_for_t1w_draw_what_they_drew_without_the_others():
    rng, other = np.random.default_rng(3), np.random.default_rng(3)
    one = tissue_means(LABELS, rng, MILD)
    two = tissue_means(LABELS, other, replace(MILD, thick_max_mm=3.0))
    np.testing.assert_array_equal(one, two)
    assert rng.random() == other.random()


def test_thick_slices_keep_the_mean_and_lose_what_is_thin():
    image = np.zeros((20, 22, 40), np.float32)
    image[5:15, 5:15, ::2] = 1
    changed = [thick_slices(image, SPACING_MM, np.random.default_rng(seed), max_mm=12.0) for seed in range(12)]
    assert all(c.shape == image.shape for c in changed)
    spread = [c[8:12, 8:12, 8:32].std() for c in changed]
    assert min(spread) < 0.15 < image[8:12, 8:12, 8:32].std()
    for c in changed:
        assert c[8:12, 8:12, 8:32].mean() == pytest.approx(0.5, abs=0.05)
    same = thick_slices(np.ones_like(image), SPACING_MM, np.random.default_rng(0), max_mm=9.0)
    np.testing.assert_allclose(same, 1, atol=1e-5)


def test_noise_outside_of_the_head_leaves_the_head_as_it_is(head_file):
    head = load_head_map(head_file)
    options = replace(MILD, warp_mm=0.0, noisy_air=1.0)
    codes = warp_codes(head, (60, 60, 60), np.random.default_rng(0), options, spacing_mm=SPACING_MM)
    image = render(head, codes, np.random.default_rng(1), options)
    without = render(head, codes, np.random.default_rng(1), replace(options, noisy_air=0.0))
    air = head.label[codes] == 0
    np.testing.assert_array_equal(image[~air], without[~air])
    assert image[air].std() > 3 * without[air].std()


def test_every_kind_gives_an_image_and_its_classes(head_file):
    head = load_head_map(head_file)
    for kind in ({"grouped_contrast": 1.0, "thick": 1.0}, {"any_contrast": 1.0}, {"susceptibility": 1.0}):
        rng = np.random.default_rng(2)
        example = make_examples(head, (64, 76, 64), SPACING_MM, 1, rng, SynthesisOptions(crop=0, **kind))[0]
        assert example.image.shape == example.target.shape == (64, 76, 64)
        assert np.isfinite(example.image).all() and example.image.std() > 0
        assert set(range(2, 18)) <= set(np.unique(example.target).tolist())

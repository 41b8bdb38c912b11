"""Susceptibility maps: zero outside of a brain mask, of both signs inside, nuclei with iron bright."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from bids_hypo.train.contrasts import DENTATE, NUCLEI, RED_NUCLEUS, SUBSTANTIA_NIGRA, SynthesisOptions
from bids_hypo.train.headmaps import SINUS, load_head_map
from bids_hypo.train.nuclei import with_nuclei
from bids_hypo.train.susceptibility import brain_mask, susceptibility_means
from bids_hypo.train.synthesis import make_examples

SPACING_MM = np.full(3, 3.0)
OPTIONS = SynthesisOptions(susceptibility=1.0, thick=0.5, crop=0.0)


@pytest.fixture(scope="module")
def head(head_file):
    return with_nuclei(load_head_map(head_file))


def test_maps_are_signed_and_zero_outside_of_the_brain_but_for_a_few_without_a_mask(head):
    examples = [
        example
        for seed in range(6)
        for example in make_examples(head, (64, 76, 64), SPACING_MM, 2, np.random.default_rng(seed), OPTIONS)
    ]
    masked = [example for example in examples if (example.image != 0).mean() < 0.9]
    assert len(masked) > 0.7 * len(examples)
    wide = 0  # with the spinal canal
    for example in masked:
        inside = example.image != 0
        assert 0.02 < inside.mean() < 0.35
        assert 0.03 < (example.image[inside] < 0).mean() < 0.97
        assert np.abs(example.image).max() < 1.0  # ppm
        far = ndimage.distance_transform_edt(example.icv_fraction < 0.5) > 3
        wide += inside[far].any()
    assert wide < 0.5 * len(masked)


def test_nuclei_with_iron_and_veins_are_bright_and_white_matter_is_not():
    labels = np.array([2, 12, 13, 10, *SUBSTANTIA_NIGRA, *DENTATE, *RED_NUCLEUS, SINUS, 41, 52])
    drawn = np.array([susceptibility_means(labels, np.random.default_rng(seed)) for seed in range(40)])
    white, pallidum, nigra, sinus = (drawn[:, k] for k in (0, 2, 4, 10))
    assert (pallidum > white).all() and (nigra > white).all() and (sinus > white).all()
    assert white.mean() < 0 < drawn[:, 6].mean()
    np.testing.assert_allclose(drawn[:, 2], drawn[:, 12], atol=0.025)  # left and right alike


def test_the_rim_of_the_mask_is_eroded_and_nothing_is_added():
    ball = np.linalg.norm(np.stack(np.indices((40, 40, 40)), -1) - 20, axis=-1) < 16
    masks = [brain_mask(ball.astype(np.float32), SPACING_MM, np.random.default_rng(seed)) for seed in range(10)]
    assert all(not (m & ~ball).any() for m in masks)
    shares = [m.sum() / ball.sum() for m in masks]
    assert 0.5 < min(shares) < 0.95 < max(shares)


def test_nuclei_are_painted_where_they_belong_and_classes_stay(head, head_file):
    plain = load_head_map(head_file)
    np.testing.assert_array_equal(plain.target[plain.codes], head.target[head.codes])
    np.testing.assert_array_equal(plain.ring[plain.codes], head.ring[head.codes])
    labels, before = head.label[head.codes], plain.label[plain.codes]
    for number in DENTATE:
        assert set(np.unique(before[labels == number]).tolist()) <= {7, 8, 46, 47}
        assert (labels == number).sum() > 200
    left, right = (np.argwhere(labels == n)[:, 0].mean() for n in DENTATE)
    assert left < right
    unchanged = ~np.isin(labels, list(NUCLEI))
    np.testing.assert_array_equal(labels[unchanged], before[unchanged])

"""The background is 0 after reading, wherever it was, and tissue lies above it."""

import numpy as np
import pytest

from bids_hypo.image.background import BLANK, FLOOR, MASKED, NOISE, UNCERTAIN, above_background
from tests.phantoms import affine_for, inside_ellipsoid, phantom_head, world_mm

SHAPE = (64, 76, 70)
AFFINE = affine_for(shape=SHAPE)


@pytest.fixture(scope="module")
def head():
    return phantom_head(SHAPE, AFFINE, noise_sd=2.0).data


@pytest.fixture(scope="module")
def brain():
    return inside_ellipsoid(world_mm(SHAPE, AFFINE), (0, 0, 0), (66, 85, 78))


@pytest.fixture(scope="module")
def stripped(head, brain):
    return np.where(brain, np.maximum(head, 1), 0).astype(np.float32)


def _zeroed(data, **options):
    return above_background(np.array(data, np.float32), **options)


CHANGES = {
    "more": lambda x: x + 1000,
    "less": lambda x: x - 300,
    "smaller": lambda x: x * 0.001,
    "around 0": lambda x: x / x.max() - 0.5,
    "z": lambda x: (x - x.mean()) / x.std(),
}


@pytest.mark.parametrize("image", ["head", "stripped"])
@pytest.mark.parametrize("change", CHANGES)
def test_offset_and_scale_do_not_matter(image, change, request):
    data = request.getfixturevalue(image)
    expected, plain = _zeroed(data)
    found, background = _zeroed(CHANGES[change](data))
    np.testing.assert_allclose(found * (expected.max() / found.max()), expected, atol=2e-3)
    if image == "stripped":
        assert ((found == 0) == (expected == 0)).all()
    assert background.kind == plain.kind == (FLOOR if image == "head" else BLANK)
    assert background.doubts == plain.doubts == ()


def test_an_image_whose_air_is_0_is_left_as_it_is(stripped):
    found, background = _zeroed(stripped)
    assert (found == stripped).all() and background.value == 0


AROUND = {"0": 0.0, "-1000": -1000.0, "about 0": None}


@pytest.mark.parametrize("around", AROUND)
def test_a_standardised_brain_lies_above_what_surrounds_it(stripped, brain, around):
    values = stripped[brain]
    z = (stripped - values.mean()) / values.std()
    noise = np.random.default_rng(0).uniform(-1e-3, 1e-3, SHAPE)
    found, background = _zeroed(np.where(brain, z, noise if AROUND[around] is None else AROUND[around]))
    assert background.kind == MASKED
    assert (found[~brain] == 0).all() and (found[brain] > 0).mean() > 0.999
    lowest = np.quantile(values, 1e-4)
    np.testing.assert_allclose(found[brain] * values.std(), np.maximum(values - lowest, 0), atol=3)


@pytest.mark.parametrize("sd", [0.003, 0.008])
def test_a_standardised_brain_in_a_noisy_background(stripped, brain, sd):
    z = (stripped - stripped[brain].mean()) / stripped[brain].std()
    found, background = _zeroed(np.where(brain, z, np.random.default_rng(0).normal(0, sd, SHAPE)))
    assert background.kind == MASKED and (found[~brain] == 0).mean() > 0.999


def test_a_background_that_cannot_be_told_from_tissue_is_said(stripped, brain):
    z = (stripped - stripped[brain].mean()) / stripped[brain].std()
    _, background = _zeroed(np.where(brain, z, np.random.default_rng(0).normal(0, 0.08, SHAPE)))
    assert background.doubts == (UNCERTAIN,)


@pytest.mark.parametrize("how", ["padded", "defaced"])
@pytest.mark.parametrize("offset", [100, 1000])
def test_zeros_around_air_that_is_not_zero(head, how, offset):
    data = head + offset
    if how == "padded":
        data = np.pad(data, 8)
        found = _zeroed(data)[0][8:-8, 8:-8, 8:-8]
    else:
        data[:, 60:, :30] = 0
        found = _zeroed(data)[0]
        found[:, 60:, :30] = head[:, 60:, :30]
    np.testing.assert_allclose(found, head, atol=1)


def test_single_spikes_are_not_the_background(head):
    spiky = head.copy()
    spiky[np.random.default_rng(0).random(SHAPE) < 3e-4] = -5000
    assert abs(_zeroed(spiky)[1].value - _zeroed(head)[1].value) < 1


def test_a_brain_in_a_background_that_is_nearly_0(stripped, brain):
    noise = np.random.default_rng(0).uniform(-1e-3, 1e-3, SHAPE)
    found, background = _zeroed(np.where(brain, stripped / 100, noise))
    assert background.kind == BLANK and (found[~brain] == 0).all()


def test_ringing_below_0_is_not_taken_for_tissue(stripped, brain):
    ringing = np.where(~brain & np.roll(brain, 2, axis=0), -3.0, stripped)
    found, background = _zeroed(ringing)
    assert background.kind == BLANK and background.value == 0
    np.testing.assert_array_equal(found[brain], stripped[brain])


def test_undefined_voxels_are_background(stripped, brain):
    found, _ = _zeroed(np.where(brain, stripped + 50, 0), undefined=~brain)
    assert (found[~brain] == 0).all()
    lowest = np.quantile(stripped[brain], 1e-4)
    np.testing.assert_allclose(found[brain], stripped[brain] - lowest, atol=2)


@pytest.mark.parametrize("scale", [(1.0, 0.0), (4095.0, 2047.0)])
def test_the_noise_of_mp2rage_is_air(head, scale):
    rng = np.random.default_rng(2)
    inside = inside_ellipsoid(world_mm(SHAPE, AFFINE), (0, 0, 0), (78, 97, 90))
    tissue = np.clip(head / head.max(), 0, 1) - 0.5
    ratio = np.where(inside, tissue, rng.uniform(-0.5, 0.5, SHAPE)) * scale[0] + scale[1]
    found, background = _zeroed(ratio, voxel_sizes_mm=(3.0, 3.0, 3.0))
    assert background.kind == NOISE
    deep = inside_ellipsoid(world_mm(SHAPE, AFFINE), (0, 0, 0), (45, 60, 55))
    far = ~inside_ellipsoid(world_mm(SHAPE, AFFINE), (0, 0, 0), (88, 107, 100))
    assert (found[far] == 0).mean() > 0.97
    changed = np.abs(found / scale[0] - (tissue + 0.5)) > 0.02
    assert changed[deep].mean() < 0.02


def test_faces_of_several_even_tissues_with_a_little_noise_are_not_noise():
    data = np.random.default_rng(0).normal(0, 1, (40, 44, 42)).astype(np.float32)
    data[:, :, :20] += 60
    data[:, 20:] += 40
    assert _zeroed(data)[1].kind == FLOOR


def test_tissue_at_the_faces_is_not_noise(head):
    crop = head[20:44, 24:52, 20:50]
    assert _zeroed(crop)[1].kind == FLOOR

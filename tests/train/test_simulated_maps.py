"""Simulated susceptibility maps: the physics by hand, dentate nuclei as promised, a pool that can be resumed."""

from __future__ import annotations

import numpy as np
import pytest

from bids_hypo.errors import UsageError
from bids_hypo.image.resample import resample
from bids_hypo.segmentation.pose import Pose
from bids_hypo.train import simulated_pool
from bids_hypo.train.augment import augment_signed
from bids_hypo.train.dentate import draw_dentates, share_of_voxels
from bids_hypo.train.dipole import field_of, invert
from bids_hypo.train.recipe import load_recipe
from bids_hypo.train.settings import Augmentation
from bids_hypo.train.simulated_maps import MappedHead, simulate
from bids_hypo.train.simulated_pool import PoolBatches, simulated_region

UP = np.array([0.0, 0.0, 1.0])
ONE_MM = np.ones(3)
VENTRICLE_MM = np.array([0.0, 11.0, 2.0])  # so that the nuclei lie beside the origin


@pytest.fixture(scope="module")
def head() -> MappedHead:
    """A ball of cerebellum with white matter and a ventricle inside, in the axes of its pose."""
    points = np.moveaxis(np.indices((140, 140, 140), dtype=np.float32), 0, -1) - 70
    distance = np.linalg.norm(points, axis=-1)
    labels = np.zeros(distance.shape, np.int16)
    right = points[..., 0] > 0
    labels[distance < 66] = 515
    labels[distance < 60] = 24
    labels[distance < 55] = np.where(right, 47, 8)[distance < 55]
    labels[distance < 38] = np.where(right, 46, 7)[distance < 38]
    labels[np.linalg.norm(points - VENTRICLE_MM, axis=-1) < 5] = 15
    return MappedHead("ball", labels, Pose(np.eye(3), np.full(3, 70.0), 1.0, 0.5, ()), VENTRICLE_MM)


def test_the_field_of_a_ball_is_that_of_the_textbook_and_division_brings_the_ball_back():
    """Outside of a ball of susceptibility chi: chi / 3 (a / r)^3 (3 cos^2 - 1); inside 0 (Lorentz sphere)."""
    n, radius = 96, 8.0
    points = np.moveaxis(np.indices((n, n, n)), 0, -1) - n // 2
    ball = (np.linalg.norm(points, axis=-1) < radius).astype(np.float32)
    field, middle, away = field_of(ball, ONE_MM, UP), n // 2, n // 2 + 16
    assert field[middle, middle, away] == pytest.approx(2 / 3 / 8, rel=0.1)
    assert field[away, middle, middle] == pytest.approx(-1 / 3 / 8, rel=0.1)
    assert abs(field[middle, middle, middle]) < 0.02
    for method, strength in (("threshold", 0.1), ("smoothed", 0.06)):
        back = invert(field, ONE_MM, UP, method=method, strength=strength)
        contrast = back[ball > 0].mean() - np.median(back[ball == 0])
        assert 0.7 < contrast < 1.1
    with pytest.raises(ValueError, match="expected 'threshold'"):
        invert(field, ONE_MM, UP, method="guess", strength=0.1)


def test_nuclei_lie_on_their_sides_in_the_sizes_promised_and_their_hilus_is_open():
    step = 0.8
    points = np.stack(np.meshgrid(*[np.arange(-34, 34, step)] * 3, indexing="ij"), axis=-1)
    volumes, opened = [], 0
    for seed in range(6):
        for nucleus in draw_dentates(VENTRICLE_MM, np.random.default_rng(seed)):
            share = share_of_voxels(nucleus.depth_mm(points), step)
            volumes.append(share.sum() * step**3)
            middle = (share[..., None] * points).sum(axis=(0, 1, 2)) / share.sum()
            assert np.sign(middle[0]) == nucleus.side and 9 < abs(middle[0]) < 19
            if nucleus.hilus is not None:
                hilus = nucleus.centre_mm + nucleus.rotation @ (nucleus.hilus[0] * nucleus.axes_mm)
                opened += 1
                assert nucleus.depth_mm(hilus) < 0 and abs(hilus[0]) < abs(middle[0])
    assert opened >= 6 and min(volumes) > 200 and max(volumes) < 1450


def test_a_map_is_zero_outside_of_its_mask_and_its_nuclei_are_bright(head):
    made = [simulate(head, np.zeros(3), np.full(3, 70.0), np.random.default_rng(s), spacing_mm=1.1) for s in (1, 2, 5)]
    again = simulate(head, np.zeros(3), np.full(3, 70.0), np.random.default_rng(1), spacing_mm=1.1)
    np.testing.assert_array_equal(again.image.data, made[0].image.data)
    for one in made:
        data = one.image.data
        assert np.isfinite(data).all() and np.abs(data).max() < 2
        for truth, contrast in zip(one.truth, one.contrast_ppm, strict=True):
            assert (truth.data.sum() > 0) == (contrast > 0)
            inside = resample(truth, one.image.grid).data > 0.5
            if contrast > 0.06:
                assert data[inside].mean() - np.median(data[data != 0]) > 0.3 * contrast


def test_a_pool_gives_batches_and_refuses_maps_that_were_made_otherwise(head, tmp_path, monkeypatch):
    small = ["preprocessing.shape=[32,32,8]", "training.batch_size=4", "training.batches_per_chunk=2"]
    recipe = load_recipe("dentate", changes=[*small, "preprocessing.spacing_mm=[1.6,1.6,2.0]"])
    monkeypatch.setattr(simulated_pool, "read_mapped_head", lambda path, template: head)
    files = [tmp_path / f"ball-{k}.npz" for k in range(2)]
    middle = simulated_pool._simulate_head(tmp_path, files, {}, recipe, 0)
    np.testing.assert_allclose(middle, np.zeros(3))
    times = [file.stat().st_mtime_ns for file in files]
    simulated_pool._simulate_head(tmp_path, files, {}, recipe, 0)  # resumed: nothing is made again
    assert [file.stat().st_mtime_ns for file in files] == times
    source = PoolBatches(tuple(files), recipe)
    (x, y), _ = source.chunk(0)
    assert x.shape == (4, 32, 32, 5) and y.shape == (4, 32, 32, 3) and np.isfinite(x).all()
    assert (abs(y.sum(axis=-1, dtype=int) - 255) <= 2).all()
    np.testing.assert_array_equal(source.chunk(0)[0][0], x)
    simulated_pool._check_same(tmp_path / "pool", recipe, 2)
    with pytest.raises(UsageError, match="simulated otherwise"):
        simulated_pool._check_same(tmp_path / "pool", recipe, 3)
    assert simulated_region(head, recipe.preprocessing, np.random.default_rng(0), "x").native_voxel_mm.min() > 0.5


def test_signed_maps_keep_sign_and_mask_when_they_are_changed():
    rng = np.random.default_rng(0)
    image = rng.normal(0, 0.01, (20, 20, 20)).astype(np.float32)
    image[8:12, 8:12, 8:12] += 0.2
    image[:5] = 0
    options = Augmentation(contrast=(0.5, 2.0), gamma_sd=0.2, bias_max=0.2, noise_max=0.2, blur_mm_max=0.3)
    for seed in range(4):
        changed = augment_signed(image, ONE_MM, ONE_MM, options, np.random.default_rng(seed))
        assert (changed[:5] == 0).all() and (changed < 0).any()
        assert changed[8:12, 8:12, 8:12].min() > np.median(changed[5:])

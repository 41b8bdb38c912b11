"""Labelled regions: labels lie where they are, augmentation keeps left left, paper recipes change contrast alone."""

import pickle
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_hypo.image.grid import box_grid
from bids_hypo.image.resample import resample
from bids_hypo.image.volume import Volume
from bids_hypo.models.bundle import ModelBundle
from bids_hypo.segmentation.delineate import region_grid, region_probabilities
from bids_hypo.segmentation.pose import Pose
from bids_hypo.train.augment import augment_intensity
from bids_hypo.train.recipe import resolved_schedule
from bids_hypo.train.regions import (
    RegionBatches,
    augmented_example,
    chunks_per_epoch,
    cut_region,
    label_centre_mm,
    sharpen,
    store_grid,
)
from bids_hypo.train.settings import Augmentation
from tests.train.recipes import recipe_of, two_sided


@pytest.fixture
def recipe():
    return two_sided()


def _labelled():
    shape = (60, 60, 60)
    affine = np.eye(4)
    affine[:3, 3] = -29.5
    x = np.stack(np.indices(shape), -1) - 29.5
    left = (np.linalg.norm(x - [-5, 2, 0], axis=-1) < 4).astype(np.float32)
    right = (np.linalg.norm(x - [5, 2, 0], axis=-1) < 4).astype(np.float32)
    image = 50 + 40 * left + 60 * right + 20 * (x[..., 1] > 0)
    return Volume(image.astype(np.float32), affine), [Volume(left, affine), Volume(right, affine)]


def _region(recipe, name="x", rotation=None):
    scan, labels = _labelled()
    pose = Pose(np.eye(3) if rotation is None else rotation, np.zeros(3), 1.0, 0.0, ())
    return cut_region(name, scan, labels, pose, store_grid(label_centre_mm(labels), pose.rotation, recipe))


def _shift(voxels):
    moved = np.eye(4)
    moved[0, 3] = voxels
    return moved


def _paper():
    """The paper's way on a small grid: two classes, no deformation, every slice."""
    grid = {"spacing_mm": [1.0, 1.0, 1.0], "shape": [32, 10, 32]}
    return recipe_of("vernikouskaya2023", preprocessing=grid, architecture={"input_shape": [32, 32, 3]})


def test_sharpening_keeps_the_outline_and_takes_off_the_tail():
    p = np.linspace(0, 1, 101)[:, None]
    np.testing.assert_array_equal(sharpen(p, 2.5) > 0.5, p > 0.5)
    tailed = np.clip(np.linspace(1.4, -0.4, 200), 0, 0.98)[:, None] ** 0.8
    assert abs(sharpen(tailed, 2.5).sum() - (tailed > 0.5).sum()) < abs(tailed.sum() - (tailed > 0.5).sum())


def test_sharpening_leaves_no_gap_where_parts_meet():
    meeting = np.array([[0.34, 0.33, 0.33], [0.5, 0.5, 0.0], [0.3, 0.0, 0.0], [0.6, 0.6, 0.0]])
    sharp = sharpen(meeting, 2.5)
    np.testing.assert_allclose(sharp, [meeting[0], meeting[1], [0, 0, 0], [0.5, 0.5, 0]], atol=1e-6)
    np.testing.assert_allclose(sharpen(meeting[:3], 1.0), meeting[:3], atol=1e-6)


def test_a_region_holds_the_labels_where_they_are(recipe):
    _, labels = _labelled()
    np.testing.assert_allclose(label_centre_mm(labels), [0, 2, 0], atol=0.05)
    boxes = (slice(0, 32), slice(28, 60))
    cut = [Volume(v.data[s], v.affine @ _shift(s.start)) for v, s in zip(labels, boxes, strict=True)]
    np.testing.assert_allclose(label_centre_mm(cut), [0, 2, 0], atol=0.05)  # as labels are read: cut to their boxes
    angle = np.radians(90)
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    region = _region(recipe, rotation=rotation)
    at = np.array(ndimage.center_of_mass(region.labels[..., 0])) + region.labels_at
    where = at - (np.array(region.image.shape) - 1) / 2
    # the head's right is the scanner's front here, so the label at scanner x = -5 lies at the head's front + 5
    np.testing.assert_allclose(where * region.spacing_mm, [0, 5, 0], atol=0.1)


def test_augmented_examples_keep_left_left(recipe):
    region, rng = _region(recipe), np.random.default_rng(5)
    for _ in range(6):
        image, target = augmented_example(region, recipe, rng)
        assert image.shape == target.shape[:3] == recipe.preprocessing.shape
        np.testing.assert_allclose(target.sum(-1), 1, atol=1e-5)
        assert ndimage.center_of_mass(target[..., 1])[0] < ndimage.center_of_mass(target[..., 2])[0] - 8


def test_labels_are_sampled_as_if_they_filled_the_region(recipe):
    region = _region(recipe)
    full = np.zeros((*region.image.shape, 2), np.uint8)
    full[tuple(slice(a, a + n) for a, n in zip(region.labels_at, region.labels.shape[:3], strict=True))] = region.labels
    filled = replace(region, labels=full, labels_at=(0, 0, 0))
    assert region.labels.size < full.size / 20
    for seed in range(3):
        one, other = (augmented_example(r, recipe, np.random.default_rng(seed)) for r in (region, filled))
        np.testing.assert_allclose(one[1], other[1], atol=1e-6)
        np.testing.assert_array_equal(one[0], other[0])


def test_batches_repeat_and_validation_is_plain():
    recipe = two_sided(training={"batch_size": 6, "batches_per_chunk": 4})
    region = _region(recipe)
    source = RegionBatches((region,), recipe)
    one, two = source.chunk(2), source.chunk(2)
    np.testing.assert_array_equal(one[0][0], two[0][0])
    assert not np.array_equal(one[0][0], source.chunk(3)[0][0])
    assert one[0][1].dtype == np.uint8
    plain = source.validation([region])
    assert len(plain) == 36 // 6
    np.testing.assert_array_equal(plain[2][0], source.validation([region])[2][0])
    foreground = sum(float((y[..., 1:] > 127).sum()) for _, y in plain) * 0.25
    assert foreground == pytest.approx(2 * 4 / 3 * np.pi * 4**3, rel=0.05)


def test_the_papers_recipe_takes_every_slice_once_an_epoch():
    small = _paper()
    scan, labels = _labelled()
    both = [Volume(labels[0].data + labels[1].data, labels[0].affine)]
    grid = box_grid(np.array([0, 2.0, 0]), np.eye(3), (32, 10, 32), np.ones(3))
    pose = Pose(np.eye(3), np.zeros(3), 1.0, 0.0, ())
    regions = tuple(cut_region(str(i), Volume(scan.data + i, scan.affine), both, pose, grid) for i in range(10))
    small = replace(small, training=resolved_schedule(small, len(regions)))
    assert small.training.steps == 25 * 25
    source = RegionBatches(regions, small)
    epoch = [batch for number in range(chunks_per_epoch(10)) for batch in source.chunk(number)]
    assert sum(len(x) for x, _ in epoch) == pytest.approx(100, abs=4)  # whole batches only
    peaks = np.concatenate([x.max(axis=(1, 2, 3)) for x, _ in epoch])
    assert min(peaks) < 0.5 and max(peaks) > 1.5  # scaled, then times 0.25 to 3
    image, target = augmented_example(regions[0], replace(small, augmentation=Augmentation()), np.random.default_rng(0))
    assert image[16, 9, 31] == pytest.approx(0.39, abs=0.01)  # what there is most of, among the bright
    assert target.shape == (32, 10, 32, 2)


def test_training_shows_what_participant_level_shows():
    """The same numbers, laid in the same way."""
    recipe = _paper()
    assert recipe.preprocessing.slice_orientation == "IL"
    scan, labels = _labelled()
    scan = Volume(scan.data + np.linspace(0, 5, 60, dtype=np.float32)[:, None, None], scan.affine)
    labels = [Volume(labels[0].data + labels[1].data, labels[0].affine)]
    pose = Pose(nib.eulerangles.euler2mat(0.1, -0.15, 0.2), np.array([1.0, 2, 3]), 1.1, 0.0, ())
    bundle = ModelBundle("hypothalamus", "0", "structure", None, ("T1w",), recipe.labels, {}, recipe.preprocessing, (),
                         dict(recipe.constants), "", "", structure=recipe.structure)  # fmt: skip
    region, seen = region_grid(pose, bundle), []

    def network(x):
        seen.append(x)
        return np.zeros((*x.shape[:3], 2), np.float32)

    region_probabilities(scan, region, bundle, [network], mirrored=False)
    cut = cut_region("x", scan, labels, pose, store_grid(region.centre_mm(), pose.rotation, recipe))
    plain = replace(recipe, augmentation=Augmentation())
    batches = RegionBatches((cut,), plain).validation([cut])
    shown = np.concatenate([x for x, _ in batches]).astype(np.float32)
    np.testing.assert_allclose(shown, seen[0][: len(shown)], atol=2e-3)  # regions are kept in half precision
    wanted = np.concatenate([y[..., 1] for _, y in batches]) > 127
    by_hand = resample(labels[0], region).data[:, : len(shown)] > 0.5
    np.testing.assert_array_equal(wanted, by_hand.transpose(1, 2, 0)[:, ::-1, ::-1])  # downwards, to the left
    assert wanted.any()


def test_intensity_augmentation_keeps_what_is_outside(recipe):
    rng = np.random.default_rng(0)
    image = rng.uniform(0.5, 1, (40, 20, 40)).astype(np.float32)
    image[:10] = 0
    out = augment_intensity(image, np.array([0.5, 1, 0.5]), np.ones(3), recipe.augmentation, rng)
    assert (out[:10] == 0).all()
    assert (out[10:] > 0).all()


def test_regions_can_be_sent_to_the_producing_process(recipe):
    assert pickle.loads(pickle.dumps(_region(recipe, "a"))).name == "a"


def test_parts_are_swapped_by_their_names_and_the_midline_stays(recipe):
    """Three classes in an order of their own: right, midline, left."""
    parts = [dict(part) for part in recipe.content["parts"]]
    middle = {"index": 3, "name": "middle", "hemisphere": "M", "abbreviation": "MID", "color": "#009E73"}
    parts = [parts[1] | {"name": "right wing"}, middle, parts[0] | {"name": "left wing"}]
    three = two_sided(parts=parts, labels=["background", "r", "m", "l"], architecture={"classes": 4},
                      loss={"class_weights": [1, 1, 1, 1]})  # fmt: skip
    assert three.mirrored == (2, 1, 0)
    scan, (left, right) = _labelled()
    labels = [right, Volume(np.roll(left.data, 5, axis=0), left.affine), left]
    pose = Pose(np.eye(3), np.zeros(3), 1.0, 0.0, ())
    region = cut_region("x", scan, labels, pose, store_grid(label_centre_mm(labels), pose.rotation, three))
    rng = np.random.default_rng(5)
    for _ in range(6):
        _, target = augmented_example(region, three, rng)
        x = [ndimage.center_of_mass(target[..., k])[0] for k in (1, 2, 3)]
        assert x[2] < x[1] - 4 < x[0] - 8


def test_axial_slices_run_upwards():
    grid = {"slice_axis": "axial", "shape": [96, 96, 36], "spacing_mm": [0.5, 0.5, 1.0]}
    recipe = two_sided(preprocessing=grid, training={"batch_size": 6})
    region = _region(recipe)
    batches = RegionBatches((region,), recipe).validation([region])
    assert len(batches) == 36 // 6 and batches[0][0].shape == (6, 96, 96, 5)
    found = np.concatenate([y[..., 1] for _, y in batches]) > 127  # slices upwards, left to right, back to front
    spread = [np.ptp(np.flatnonzero(found.any(axis=axes))) + 1 for axes in ((1, 2), (0, 2), (0, 1))]
    assert spread == pytest.approx([8, 16, 16], abs=1)

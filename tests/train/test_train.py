"""Training examples are what they claim to be."""

import json

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_hypo.image.volume import Volume
from bids_hypo.segment.pose import Pose, fit_pose
from bids_hypo.train.anatomy import AnatomyBatches, soft_targets
from bids_hypo.train.augment import augment_intensity
from bids_hypo.train.deform import random_affine, smooth_field, spline_basis
from bids_hypo.train.headmaps import CLASS_NAMES, class_centroids, intracranial_mask, load_head_map
from bids_hypo.train.hypothalamus import (
    HypothalamusBatches,
    LabelledRegion,
    augmented_example,
    cut_region,
    label_centre_mm,
    sharpen,
)
from bids_hypo.train.labelled import training_table
from bids_hypo.train.pose_template import make_pose_template
from bids_hypo.train.synthesis import make_examples, mirror, synthesise_scan
from bids_hypo.workflow.training import load_recipe

STRUCTURES = {  # centre (mm) and radius (mm) of a toy head's structures, FreeSurfer numbers, left is negative x
    10: ((-11, -19, 7), 7), 49: ((11, -19, 7), 7), 16: ((0, -31, -33), 9), 4: ((-14, -18, 20), 5),
    43: ((14, -18, 20), 5), 14: ((0, -12, -2), 4), 11: ((-14, 10, 10), 5), 50: ((14, 10, 10), 5),
    12: ((-27, 1, 0), 6), 51: ((27, 1, 0), 6), 17: ((-28, -22, -14), 5), 53: ((28, -22, -14), 5),
    8: ((-20, -62, -36), 16), 47: ((20, -62, -36), 16), 28: ((-9, -14, -13), 3.5), 60: ((9, -14, -13), 3.5),
}  # fmt: skip


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    """A toy head map of 1 mm: scalp, bone, CSF, white matter, structures, and a neck with a spinal canal."""
    shape = (150, 190, 170)
    x = np.stack(np.indices(shape), -1) - np.array([75, 95, 95])
    labels = np.zeros(shape, np.int32)
    radius = np.linalg.norm(x / np.array([1, 1.2, 1]), axis=-1)
    for number, size in ((507, 72), (515, 66), (24, 60), (2, 56)):
        labels[radius < size] = number
    labels[(radius < 56) & (x[..., 0] > 0)] = 41
    for number, (centre, size) in STRUCTURES.items():
        labels[np.linalg.norm(x - np.array(centre), axis=-1) < size] = number
    labels[(np.hypot(x[..., 0], x[..., 1] + 25) < 5) & (x[..., 2] < -50)] = 24
    path = tmp_path_factory.mktemp("maps") / "toy.nii.gz"
    affine = np.diag([-1.0, 1, 1, 1])  # stored LAS: reading must bring it to RAS
    nib.save(nib.Nifti1Image(np.ascontiguousarray(labels[::-1]), affine), path)
    return load_head_map(path)


def test_the_icv_rule_cuts_the_spinal_canal_and_specks():
    labels = np.zeros((80, 80, 100), np.int16)
    x = np.stack(np.indices(labels.shape), -1) - np.array([40, 40, 60])
    labels[np.linalg.norm(x, axis=-1) < 30] = 3
    labels[np.linalg.norm(x - np.array([0, -8, -15]), axis=-1) < 9] = 8
    labels[36:44, 36:44, :35] = 24
    labels[2:4, 2:4, 2:4] = 24
    labels[40:43, 40:43, 60:63] = 0
    mask = intracranial_mask(labels)
    lowest = np.flatnonzero(mask.any(axis=(0, 1)))[0]
    assert lowest >= np.flatnonzero((labels == 8).any(axis=(0, 1)))[0] - 3
    assert mask[41, 41, 61]
    assert not mask[2:4, 2:4, 2:4].any()
    ball = 4 / 3 * np.pi * 30**3
    assert mask.sum() == pytest.approx(ball, rel=0.04)


def test_left_is_left_in_a_head_map(head):
    centroids = dict(zip(CLASS_NAMES, class_centroids(head), strict=True))
    assert centroids["left thalamus"][0] < centroids["right thalamus"][0] - 15
    mirrored = dict(zip(CLASS_NAMES, class_centroids(mirror(head)), strict=True))
    assert mirrored["left thalamus"][0] < mirrored["right thalamus"][0] - 15


def test_examples_are_repeatable_and_consistent(head):
    one, two = (make_examples(head, (80, 100, 96), 2, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(one[1].image, two[1].image)
    for example in one:
        assert example.image.shape == example.target.shape == (80, 100, 96)
        assert np.isfinite(example.image).all()
        np.testing.assert_array_equal(example.target > 0, example.icv_fraction > 0)
    assert not np.array_equal(one[0].image, one[1].image)


def test_synthetic_scan_keeps_the_volume(head):
    scan, icv = synthesise_scan(head, np.random.default_rng(0))
    assert icv.data.sum() == pytest.approx(head.icv.sum(), rel=0.35)
    inside, outside = scan.data[icv.data > 0], scan.data[icv.data == 0]
    assert inside.mean() > 1.5 * outside.mean()


def test_soft_targets_sum_to_one():
    target = np.array([[0, 1, 5]], np.uint8)
    y = soft_targets(target, np.array([[0, 0.25, 1.0]]), 18)
    np.testing.assert_array_equal(y.sum(-1), 255)
    assert y[0, 1, 1] == pytest.approx(64, abs=1)
    assert y[0, 2, 5] == 255


def test_anatomy_batches(head):
    recipe = load_recipe("anatomy")
    recipe["training"] |= {"batch_size": 4, "batches_per_chunk": 2}
    batches = AnatomyBatches((head,), recipe).chunk(3)
    assert len(batches) == 2
    x, y = batches[0]
    assert x.shape == (4, 96, 128, 5)
    assert y.shape == (4, 96, 128, 18)
    again = AnatomyBatches((head,), recipe).chunk(3)
    np.testing.assert_array_equal(again[1][0], batches[1][0])


def test_pose_template_is_symmetric_and_finds_its_heads(head):
    template = {n: np.array(p) for n, p in make_pose_template([head]).items()}
    for name, point in template.items():
        if name.startswith("left "):
            np.testing.assert_allclose(point * [-1, 1, 1], template[name.replace("left ", "right ")], atol=0.05)
    assert template["left thalamus"][0] < 0
    assert template["brainstem"][2] < template["left thalamus"][2]
    found = {n: c for n, c in zip(CLASS_NAMES, class_centroids(head), strict=True) if np.isfinite(c).all()}
    assert fit_pose(found, template).residual_mm < 1.0


def test_spline_fields_are_smooth_and_of_unit_size():
    np.testing.assert_allclose(spline_basis(20, 6).sum(1), 1, atol=1e-6)
    rng = np.random.default_rng(0)
    fields = np.array([smooth_field((40, 40, 40), (6, 6, 6), rng) for _ in range(8)])
    assert 0.4 < fields.std() < 1.8
    assert np.abs(np.diff(fields, axis=1)).max() < 0.8
    affine = random_affine(rng, max_rotation_deg=10, scale_sd=0.05, max_shear=0.05, max_shift=3)
    assert 0.7 < np.linalg.det(affine[:3, :3]) < 1.4


def test_sharpening_keeps_the_outline_and_takes_off_the_tail():
    p = np.linspace(0, 1, 101)
    np.testing.assert_array_equal(sharpen(p, 2.5) > 0.5, p > 0.5)
    tailed = np.clip(np.linspace(1.4, -0.4, 200), 0, 0.98) ** 0.8
    assert abs(sharpen(tailed, 2.5).sum() - (tailed > 0.5).sum()) < abs(tailed.sum() - (tailed > 0.5).sum())


def _labelled(rng=None):
    shape = (60, 60, 60)
    affine = np.eye(4)
    affine[:3, 3] = -29.5
    x = np.stack(np.indices(shape), -1) - 29.5
    left = (np.linalg.norm(x - [-5, 2, 0], axis=-1) < 4).astype(np.float32)
    right = (np.linalg.norm(x - [5, 2, 0], axis=-1) < 4).astype(np.float32)
    image = 50 + 40 * left + 60 * right + 20 * (x[..., 1] > 0)
    return Volume(image.astype(np.float32), affine), Volume(left, affine), Volume(right, affine)


def test_a_region_holds_the_labels_where_they_are():
    scan, left, right = _labelled()
    centre = label_centre_mm(left, right)
    np.testing.assert_allclose(centre, [0, 2, 0], atol=0.05)
    angle = np.radians(90)
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    region = cut_region("x", scan, left, right, Pose(rotation, np.zeros(3), 1.0, 0.0, ()), centre, 1.0)
    where = np.array(ndimage.center_of_mass(region.labels[..., 0])) - (np.array(region.labels.shape[:3]) - 1) / 2
    # the head's right is the scanner's front here, so the label at scanner x = -5 lies at the head's front + 5
    np.testing.assert_allclose(where * 0.5, [0, 5, 0], atol=0.1)


def test_augmented_examples_keep_left_left():
    recipe = load_recipe("hypothalamus")
    scan, left, right = _labelled()
    region = cut_region("x", scan, left, right, Pose(np.eye(3), np.zeros(3), 1.0, 0.0, ()), np.array([0, 2.0, 0]), 1.0)
    rng = np.random.default_rng(5)
    for _ in range(6):
        image, target = augmented_example(region, recipe, rng)
        assert image.shape == target.shape[:3] == tuple(recipe["preprocessing"]["shape"])
        np.testing.assert_allclose(target.sum(-1), 1, atol=1e-5)
        assert ndimage.center_of_mass(target[..., 1])[0] < ndimage.center_of_mass(target[..., 2])[0] - 8


def test_hypothalamus_batches_repeat():
    recipe = load_recipe("hypothalamus")
    recipe["training"] |= {"batch_size": 6, "batches_per_chunk": 4}
    scan, left, right = _labelled()
    region = cut_region("x", scan, left, right, Pose(np.eye(3), np.zeros(3), 1.0, 0.0, ()), np.array([0, 2.0, 0]), 1.0)
    source = HypothalamusBatches((region,), recipe)
    one, two = source.chunk(2), source.chunk(2)
    np.testing.assert_array_equal(one[0][0], two[0][0])
    assert not np.array_equal(one[0][0], source.chunk(3)[0][0])
    assert one[0][1].dtype == np.uint8


def test_intensity_augmentation_keeps_what_is_outside():
    rng = np.random.default_rng(0)
    image = rng.uniform(0.5, 1, (40, 20, 40)).astype(np.float32)
    image[:10] = 0
    out = augment_intensity(
        image, np.array([0.5, 1, 0.5]), np.ones(3), load_recipe("hypothalamus")["augmentation"], rng
    )
    assert (out[:10] == 0).all()
    assert (out[10:] > 0).all()


def test_subjects_set_aside_never_train(tmp_path):
    recipe = load_recipe("hypothalamus")
    aside = [(d, s) for part in ("validation", "test") for d, ss in recipe[part].items() for s in ss]
    assert len(set(aside)) == len(aside) >= 18
    rows = [f"{d}\t{s}\t400\t400\t800\t0.02" for d, s in aside] + [
        "ds000011\tsub-01\t400\t400\t800\t0.02",
        "ds002748\tsub-01\t250\t250\t500\t0.02",
    ]
    (tmp_path / "labels.tsv").write_text(
        "dataset\tparticipant_id\tleft_mm3\tright_mm3\twhole_mm3\tcv\n" + "\n".join(rows) + "\n"
    )
    table = training_table(recipe, tmp_path)
    assert len(table) == 2
    assert list(table.weight) == [1.0, recipe["doubtful"]["weight"]]


@pytest.mark.parametrize("name", ["anatomy", "hypothalamus"])
def test_recipes_are_consistent(name):
    recipe = load_recipe(name)
    x, _, z = recipe["preprocessing"]["shape"]
    assert recipe["architecture"]["input_shape"] == [x, z, len(recipe["preprocessing"]["slice_offsets"])]
    assert recipe["architecture"]["classes"] == len(recipe["labels"]) == len(recipe["loss"]["class_weights"])
    assert json.loads(json.dumps(recipe)) == recipe
    if name == "anatomy":
        assert tuple(recipe["labels"]) == CLASS_NAMES


def test_regions_can_be_sent_to_the_producing_process():
    import pickle

    region = LabelledRegion("a", np.zeros((2, 2, 2), np.float16), np.zeros((2, 2, 2, 2), np.uint8), np.ones(3), 1.0)
    assert pickle.loads(pickle.dumps(region)).name == "a"

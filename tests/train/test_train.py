"""Training examples are what they claim to be."""

import json

import numpy as np
import pytest
from scipy import ndimage

from bids_hypo.image.volume import Volume
from bids_hypo.segmentation.pose import fit_pose
from bids_hypo.train.anatomy import AnatomyBatches, soft_targets
from bids_hypo.train.contrasts import T1W, tissue_means
from bids_hypo.train.deform import contract, random_affine, smooth_field, spline_basis
from bids_hypo.train.headmaps import (
    CLASS_NAMES,
    CSF,
    SINUS,
    class_centroids,
    intracranial_mask,
    load_head_map,
    load_head_maps,
    painted_to,
    vary_fluid,
)
from bids_hypo.train.pose_template import make_pose_template
from bids_hypo.train.recipe import RECIPES, in_phases, load_recipe
from bids_hypo.train.synthesis import make_examples, mirror, synthesise_scan
from tests.train.recipes import content_of, recipe_of


@pytest.fixture(scope="module")
def head(head_file):
    return load_head_map(head_file)


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


@pytest.mark.parametrize("sinus", [SINUS, CSF])
def test_the_icv_holds_sinuses_whether_or_not_the_map_tells_them_from_csf(sinus):
    labels = np.zeros((90, 100, 90), np.int16)
    x = np.stack(np.indices(labels.shape), -1) - np.array([45, 50, 40])
    radius = np.linalg.norm(x, axis=-1)
    labels[radius < 38] = 515
    labels[radius < 32] = 3
    labels[np.linalg.norm(x - np.array([0, -8, -19]), axis=-1) < 12] = 8
    beneath_vault = (radius < 32) & (np.abs(x[..., 0]) < 5) & (x[..., 2] > 22)
    labels[beneath_vault] = sinus
    in_neck = (np.hypot(x[..., 0] - 20, x[..., 1]) < 4) & (x[..., 2] < -32)
    labels[in_neck] = sinus if sinus == SINUS else 507
    mask = intracranial_mask(labels)
    assert mask[beneath_vault & (radius < 31)].all()
    assert not mask[in_neck & (radius > 38)].any()
    assert mask.sum() == pytest.approx(4 / 3 * np.pi * 32**3, rel=0.04)


def test_a_head_is_painted_up_to_the_border_that_counts():
    labels = np.full((80, 80, 90), 515, np.int16)
    x = np.stack(np.indices(labels.shape), -1) - np.array([40, 40, 50])
    radius = np.linalg.norm(x, axis=-1)
    labels[radius < 32] = CSF
    labels[radius < 28] = 3
    labels[(np.linalg.norm(x - np.array([0, -8, -18]), axis=-1) < 9)] = 8
    splinter = (radius < 32) & (np.abs(x[..., :2] - np.array([31, 0])) < 1.5).all(axis=-1)
    labels[splinter] = 507
    in_vault = (radius < 32) & (x[..., 2] > 29)
    labels[in_vault] = SINUS
    canal = (radius >= 30) & (np.hypot(x[..., 1], x[..., 2]) < 1.5) & (x[..., 0] < 0)
    labels[canal] = CSF
    icv = intracranial_mask(labels)
    assert (icv & splinter).any() and (~icv & canal).any()
    painted = painted_to(labels, icv)
    assert set(np.unique(painted[icv])) <= {CSF, 3, 8, SINUS}
    assert (painted[icv & in_vault] == SINUS).all()
    lowest = np.flatnonzero(icv.any(axis=(0, 1)))[0]
    just_outside = ndimage.distance_transform_edt(~icv) <= 2
    just_outside[:, :, :lowest] = False
    assert (painted[just_outside & ~icv] >= 500).all()
    far = ndimage.distance_transform_edt(~icv) > 2
    np.testing.assert_array_equal(painted[far], labels[far])
    assert (painted[far & canal] == CSF).all()


def test_other_fluid_leaves_the_skull_as_it_is(head, head_file):
    same, *others = load_head_maps(head_file, [np.random.default_rng(seed) for seed in range(6)])
    np.testing.assert_array_equal(same.codes, head.codes)
    before, changes = head.label[head.codes], set()
    for other in others:
        np.testing.assert_array_equal(other.icv, head.icv)
        after = other.label[other.codes]
        np.testing.assert_array_equal(before >= 500, after >= 500)
        changed = before != after
        changes |= set(zip(before[changed].tolist(), after[changed].tolist(), strict=True))
    fluid_to_cortex = {(CSF, 3), (CSF, 42)}
    to_fluid = {(n, CSF) for n in (3, 42, 7, 8, 46, 47)} | {(2, 4), (41, 43)}
    assert changes <= fluid_to_cortex | to_fluid
    assert changes & fluid_to_cortex and (8, CSF) in changes and (2, 4) in changes


@pytest.mark.parametrize(("brain", "most"), [(8, 14), (3, 5)])
def test_fluid_below_the_skull_grows_no_deeper_than_said(brain, most):
    labels = np.full((60, 60, 60), brain, np.int16)
    labels[:, :, :10], labels[:, :, 10], labels[:, :, 50:] = 515, CSF, 3
    deepest = 0
    for varied in vary_fluid(labels, [np.random.default_rng(seed) for seed in range(6)]):
        fluid = np.flatnonzero((varied[:, :, :40] == CSF).any(axis=(0, 1)))
        deepest = max(deepest, fluid[-1] - 9) if len(fluid) else deepest
        np.testing.assert_array_equal(varied == 515, labels == 515)
    assert 2 <= deepest <= most


def test_a_phase_changes_only_what_it_names():
    recipe = load_recipe("anatomy")
    first, *_, last = in_phases(recipe)
    assert first.preprocessing.spacing_mm == (2.0, 2.0, 2.0)
    assert first.architecture["input_shape"] == [96, 128, 5]
    assert last.preprocessing == recipe.preprocessing and last.architecture == recipe.architecture


def test_a_phase_goes_on_with_what_it_does_not_name():
    phase = content_of("anatomy")["phases"][0]
    loss, grid = phase["loss"], {"spacing_mm": [3.0, 3.0, 3.0], "shape": [64, 64, 64]}
    named = {"loss": loss | {"jaccard_weight": 7}, "synthesis": {"crop": 0.5}, "training": phase["training"]}
    other = {"name": "b", "loss": loss | {"jaccard_weight": 1}}
    recipe = recipe_of("anatomy", phases=[{"name": "a", **grid, **named}, other, {"name": "c"}])
    first, second, third = in_phases(recipe)
    assert [phase.loss["jaccard_weight"] for phase in (first, second, third)] == [7, 1, 1]
    assert first.synthesis == second.synthesis == third.synthesis == {"crop": 0.5}
    assert first.architecture["input_shape"] == [64, 64, 5]
    assert second.preprocessing == third.preprocessing == recipe.preprocessing
    assert third.name == "c" and recipe.name == "anatomy"


def test_left_is_left_in_a_head_map(head):
    centroids = dict(zip(CLASS_NAMES, class_centroids(head), strict=True))
    assert centroids["left thalamus"][0] < centroids["right thalamus"][0] - 15
    mirrored = dict(zip(CLASS_NAMES, class_centroids(mirror(head)), strict=True))
    assert mirrored["left thalamus"][0] < mirrored["right thalamus"][0] - 15


def test_examples_are_repeatable_and_consistent(head):
    one, two = (make_examples(head, (80, 100, 96), np.full(3, 2.0), 2, np.random.default_rng(4)) for _ in range(2))
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
    recipe = dict(in_phases(load_recipe("anatomy"))[0].content)
    recipe["training"] = recipe["training"] | {"batch_size": 4, "batches_per_chunk": 2}
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


def test_measured_contrast_orders_the_tissues_as_t1w_does():
    labels = np.array([0, 2, 3, 24, 507, 514, 515])
    for seed in range(30):
        air, white, grey, fluid, soft, sinus, bone = tissue_means(labels, np.random.default_rng(seed), T1W)
        assert bone < fluid < grey < white
        assert fluid < soft < white and sinus > bone and air < fluid


@pytest.mark.parametrize("name", [path.stem for path in RECIPES.glob("*.json")])
def test_recipes_are_consistent(name):
    recipe = load_recipe(name)
    for phase in in_phases(recipe):
        assert len(phase.loss.get("class_weights", recipe.labels)) == len(recipe.labels)
        assert phase.training.last_step or phase.training.epochs
    assert json.loads(json.dumps(recipe.content)) == recipe.content
    if recipe.role == "head":
        assert recipe.labels == CLASS_NAMES


def test_contraction_shrinks_by_what_it_says():
    affine = np.diag([0.8, 1.0, 1.0, 1.0])
    affine[:3, 3] = -40
    points = np.stack(np.indices((100, 80, 80)), -1) * [0.8, 1, 1] - 40
    ball = Volume((np.linalg.norm(points - [2, 1, -3], axis=-1) < 6).astype(np.float32), affine)
    smaller = contract(ball, np.array([2.0, 1, -3]), 0.85)
    assert smaller.data.sum() / ball.data.sum() == pytest.approx(0.85, abs=0.01)
    far = np.linalg.norm(points - [2, 1, -3], axis=-1) > 21
    noisy = Volume(np.random.default_rng(0).normal(5, 1, ball.data.shape).astype(np.float32), affine)
    np.testing.assert_array_equal(contract(noisy, np.array([2.0, 1, -3]), 0.85).data[far], noisy.data[far])

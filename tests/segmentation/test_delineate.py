"""From probabilities in the region to labels on the scan's grid: left is left, volumes agree."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bids_hypo.errors import SegmentationError
from bids_hypo.image.grid import apply_affine, box_grid
from bids_hypo.image.volume import Volume
from bids_hypo.models.bundle import ModelBundle, Preprocessing
from bids_hypo.segmentation.cleanup import fill_holes, label_parts, largest_component
from bids_hypo.segmentation.delineate import region_grid, region_probabilities
from bids_hypo.segmentation.pose import Pose
from bids_hypo.segmentation.structure import delineate
from tests.finished import TRIDENT, structure_named

HYPO = structure_named("hypothalamus")

REGION = box_grid(np.zeros(3), np.eye(3), (96, 36, 96), np.array([0.5, 1.0, 0.5]))


def _blobs(grid, left_radius=5.0, right_radius=5.0, gap=5.5):
    points = apply_affine(grid.affine, np.stack(np.indices(grid.shape), -1))
    sides = [
        1 / (1 + np.exp(5 * (np.linalg.norm(points - [x, 0, 0], axis=-1) - r)))
        for x, r in ((-gap, left_radius), (gap, right_radius))
    ]
    total = np.maximum(sides[0] + sides[1], 1)
    left, right = sides[0] / total, sides[1] / total
    return np.stack([1 - left - right, left, right], -1).astype(np.float32)


@pytest.mark.parametrize("spacing", [0.7, 1.0, 1.5])
@pytest.mark.parametrize("flip", [1, -1])
def test_left_is_left_and_volumes_agree(spacing, flip):
    native = box_grid(np.array([0.2, 0.1, 0.3]), np.diag([flip, 1.0, 1.0]), (60, 60, 60), np.full(3, spacing))
    found = delineate(_blobs(REGION, 5.0, 6.0)[None], REGION, native, HYPO)
    for side, (label, x, radius) in enumerate(((1, -5.5, 5.0), (2, 5.5, 6.0))):
        where = apply_affine(native.affine, np.argwhere(found.labels == label)).mean(0)
        np.testing.assert_allclose(where, [x, 0, 0], atol=0.5)
        counted = (found.labels == label).sum() * native.voxel_volume_mm3
        assert found.volumes[side].volume_mm3 == pytest.approx(counted, rel=1e-9)
        expected = found.probability[..., side].sum() * native.voxel_volume_mm3
        assert abs(counted - expected) <= 0.51 * native.voxel_volume_mm3
        assert counted == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.06)


def test_sides_that_touch_share_no_voxel():
    native = box_grid(np.zeros(3), np.eye(3), (60, 60, 60), np.full(3, 1.0))
    found = delineate(_blobs(REGION, 5.5, 5.5, gap=4.5)[None], REGION, native, HYPO)
    assert set(np.unique(found.labels)) == {0, 1, 2}
    assert found.volumes[0].volume_mm3 == pytest.approx(found.volumes[1].volume_mm3, rel=0.02)


def test_specks_are_dropped():
    probabilities = _blobs(REGION)
    probabilities[2:6, 2:4, 2:6] = [0, 1, 0]
    native = box_grid(np.zeros(3), np.eye(3), (60, 60, 60), np.full(3, 1.0))
    where = apply_affine(native.affine, np.argwhere(delineate(probabilities[None], REGION, native, HYPO).labels > 0))
    assert np.abs(where).max() < 12


@pytest.mark.parametrize(("left", "right", "name"), [(1.0, 5.0, "left"), (5.0, 1.0, "right")])
def test_a_missing_side_is_an_error(left, right, name):
    with pytest.raises(SegmentationError, match=f"sub-03: the {name} hypothalamus was not found"):
        delineate(_blobs(REGION, left, right)[None], REGION, REGION, HYPO, what="sub-03")


def test_reaching_the_border_is_noticed():
    native = box_grid(np.zeros(3), np.eye(3), (60, 60, 60), np.full(3, 1.0))
    assert not delineate(_blobs(REGION)[None], REGION, native, HYPO).touches_border
    assert delineate(_blobs(REGION, gap=22)[None], REGION, native, HYPO).touches_border


def _bundle():
    pre = Preprocessing((0.5, 1.0, 0.5), (96, 36, 96), "coronal", (-1, 0, 1), "zscore")
    return ModelBundle("hypothalamus", "0", "structure", None, ("T1w",), ("background", "left", "right"), {}, pre, (),
                       {"region_centre_mm": [0, 2, -8]}, "", "", structure=HYPO)  # fmt: skip


def test_mirrored_pass_swaps_sides_back():
    """A network that says left wherever the image is bright must not be contradicted by its mirrored pass."""
    image = np.zeros((96, 36, 96), np.float32)
    image[20:40], image[56:76] = 10, 5
    image += np.random.default_rng(0).uniform(0, 0.1, image.shape).astype(np.float32)

    def network(x):
        centre = x[..., 1]
        out = np.zeros((*centre.shape, 3), np.float32)
        half = centre.shape[1] // 2
        out[:, :half, :, 1] = centre[:, :half] > 0
        out[:, half:, :, 2] = centre[:, half:] > 0
        out[..., 0] = 1 - out[..., 1] - out[..., 2]
        return out

    volume = Volume(image, REGION.affine)
    both = region_probabilities(volume, REGION, _bundle(), [network])
    plain = region_probabilities(volume, REGION, _bundle(), [network], mirrored=False)
    np.testing.assert_allclose(both, plain, atol=1e-6)
    assert both[0, 30, 18, 48, 1] == 1


def test_further_folds_look_only_near_what_the_first_one_sees():
    image = np.full((96, 36, 96), 1, np.float32)
    image[30:40, 15:20], image[60:70, 15:20] = 10, 10
    calls = []

    def network(x, shift=0):
        calls.append(len(x))
        out = np.zeros((*x.shape[:3], 3), np.float32)
        out[..., 1] = x[..., 1] > 1
        out[..., 0] = 1 - out[..., 1]
        return np.roll(out, shift, axis=1)

    volume = Volume(image, REGION.affine)
    networks = [network, lambda x: network(x, 1)]
    folds = region_probabilities(volume, REGION, _bundle(), networks, mirrored=False)
    assert calls == [36, 5 + 2 * 2]
    np.testing.assert_array_equal(folds[1], np.roll(folds[0], 1, axis=0))
    np.testing.assert_array_equal(folds.sum(-1), 1)
    calls.clear()
    region_probabilities(Volume(np.ones_like(image), REGION.affine), REGION, _bundle(), networks, mirrored=False)
    assert calls == [36, 36]


def test_every_other_fold_sees_the_mirror_image():
    """A network that leans to the left of its picture: two of them together lean nowhere."""
    image = np.ones((96, 36, 96), np.float32)
    image[30:40, 15:20], image[56:66, 15:20] = 10, 10

    def network(x):
        out = np.zeros((*x.shape[:3], 3), np.float32)
        bright = x[..., 1] > 1
        out[:, :48, :, 1], out[:, 48:, :, 2] = 0.9 * bright[:, :48], 0.6 * bright[:, 48:]
        out[..., 0] = 1 - out[..., 1] - out[..., 2]
        return out

    folds = region_probabilities(Volume(image, REGION.affine), REGION, _bundle(), [network, network])
    np.testing.assert_allclose(folds[0, 35, 17, 48, 1:], [0.9, 0], atol=1e-6)
    np.testing.assert_allclose(folds[1, 35, 17, 48, 1:], [0.6, 0], atol=1e-6)
    mean = folds.mean(axis=0)
    np.testing.assert_allclose(mean[..., 1], mean[::-1, ..., 2], atol=1e-6)


def test_folds_that_disagree_have_a_spread():
    native = box_grid(np.zeros(3), np.eye(3), (60, 60, 60), np.full(3, 1.0))
    small, large = _blobs(REGION, 4.8, 5.0), _blobs(REGION, 5.2, 5.0)
    found = delineate(np.stack([small, large]), REGION, native, HYPO)
    sums = [p[..., 1].sum() * REGION.voxel_volume_mm3 for p in (small, large)]
    left, right, both = (volume.volume_sd_mm3 for volume in found.volumes)
    assert left == pytest.approx(abs(sums[1] - sums[0]) / np.sqrt(2), rel=0.02)
    assert right == pytest.approx(0, abs=0.05)
    assert both == pytest.approx(left, rel=0.02)
    assert delineate(small[None], REGION, native, HYPO).volumes[0].volume_sd_mm3 is None


@pytest.mark.parametrize("orientation", ["RS", "IL"])
def test_a_model_without_sides_is_divided_at_the_midplane(orientation):
    """Two output classes, slices laid as the model wants them: the bright blob left of the middle is the left one."""
    points = apply_affine(REGION.affine, np.stack(np.indices(REGION.shape), -1))
    image = 1 + sum((np.linalg.norm(points - [x, 0, z], axis=-1) < 5).astype(np.float32) for x, z in ((-6, 4), (6, -4)))

    def network(x):
        if orientation == "IL":  # first axis runs down, second to the left: the left blob, higher up, has small rows
            rows = np.argwhere(x[18, :, 48:, 1] > 0)[:, 0]
            assert rows.mean() < 48
        foreground = (x[..., 1] > 0).astype(np.float32)
        return np.stack([1 - foreground, foreground], -1)

    bundle = replace(
        _bundle(),
        labels=("background", "hypothalamus"),
        preprocessing=replace(_bundle().preprocessing, slice_orientation=orientation),
    )
    folds = region_probabilities(Volume(image, REGION.affine), REGION, bundle, [network])
    found = delineate(folds, REGION, REGION, HYPO)
    for label, x, z in ((1, -6, 4), (2, 6, -4)):
        where = apply_affine(REGION.affine, np.argwhere(found.labels == label)).mean(0)
        np.testing.assert_allclose(where, [x, 0, z], atol=0.4)
    assert region_grid(Pose(np.eye(3), np.zeros(3), 1.0, 0.0, ()), replace(bundle, constants={
        "region_centre_mm": [3.0, 2, -8]})).centre_mm()[0] == pytest.approx(0)  # fmt: skip


def test_region_follows_the_pose():
    rotation = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    grid = region_grid(Pose(rotation, np.array([10.0, 20, 30]), 1.1, 0.0, ()), _bundle())
    np.testing.assert_allclose(grid.centre_mm(), [10 - 2.2, 20, 30 - 8.8])
    np.testing.assert_allclose(grid.affine[:3, 0] / 0.5, [0, 1, 0], atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(1, 6))
def test_each_part_has_as_many_voxels_as_its_probabilities_sum_to(seed, n_parts):
    rng = np.random.default_rng(seed)
    probability = rng.dirichlet(np.full(n_parts + 1, 0.5), size=(7, 7, 7))[..., 1:].astype(np.float32)
    held = label_parts(probability)
    wanted = [round(float(probability[..., k].sum(dtype=np.float64))) for k in range(n_parts)]
    assert np.bincount(held[held >= 0], minlength=n_parts).tolist() == wanted


def test_one_part_takes_its_most_probable_voxels():
    probability = np.random.default_rng(0).uniform(0, 1, (6, 6, 6, 1)) ** 3
    held = label_parts(probability)[..., None] == 0
    assert held.sum() == round(probability.sum())
    assert probability[held].min() >= probability[~held].max()


def test_a_thin_part_between_others_gets_its_volume_where_it_is():
    """A sheet that is nowhere the likeliest part has the volume of its probabilities all the same, in the sheet."""
    probability = np.zeros((12, 12, 12, 3), np.float32)
    probability[:6, ..., 0], probability[6:, ..., 2] = 0.98, 0.98
    probability[5:6] = [0.4, 0.35, 0.25]
    probability[6:7] = [0.25, 0.35, 0.4]
    held = label_parts(probability)
    counts = np.bincount(held[held >= 0], minlength=3)
    assert counts.tolist() == [round(float(probability[..., k].sum())) for k in range(3)]
    assert set(np.unique(np.argwhere(held == 1)[:, 0])) <= {5, 6}


def test_parts_add_up_to_the_whole_and_the_middle_one_does_not_count():
    native = box_grid(np.zeros(3), np.eye(3), (60, 60, 60), np.full(3, 1.0))
    sides = _blobs(REGION, 4.0, 5.0)
    points = apply_affine(REGION.affine, np.stack(np.indices(REGION.shape), -1))
    shaft = (1 / (1 + np.exp(5 * (np.linalg.norm(points - [0, 0, 14], axis=-1) - 4.0)))).astype(np.float32)
    folds = np.concatenate([sides, shaft[..., None]], axis=-1)
    folds[..., 0] = np.clip(folds[..., 0] - shaft, 0, 1)
    found = delineate(folds[None], REGION, native, TRIDENT)
    volumes = {(v.part, v.hemisphere): v.volume_mm3 for v in found.volumes}
    assert list(volumes) == [
        ("prong", "L"),
        ("prong", "R"),
        ("shaft", "M"),
        ("whole", "L"),
        ("whole", "R"),
        ("whole", "B"),
    ]
    assert set(np.unique(found.labels)) == {0, 31, 32, 33}
    for part in TRIDENT.parts:
        counted = (found.labels == part.index).sum() * native.voxel_volume_mm3
        assert volumes[part.kind, part.hemisphere] == counted > 0
    assert (
        volumes["whole", "B"] == volumes["prong", "L"] + volumes["prong", "R"] == np.isin(found.labels, [31, 32]).sum()
    )


def test_axial_slices_see_what_coronal_ones_see():
    """A network that outlines what is bright finds the same through either kind of slice."""
    image = np.zeros((96, 36, 96), np.float32)
    image[20:40, 10:20, 30:50], image[56:76, 12:22, 40:60] = 10, 5

    def network(x):
        centre = x[..., x.shape[-1] // 2]
        left, right = centre > 8, (centre > 3) & (centre <= 8)
        return np.stack([~(left | right), left, right], -1).astype(np.float32)

    coronal = _bundle()
    coronal = replace(coronal, preprocessing=replace(coronal.preprocessing, intensity="unit", slice_offsets=(0,)))
    axial = replace(coronal, preprocessing=replace(coronal.preprocessing, slice_axis="axial", slice_orientation="RA"))
    scale = lambda x: network(x * 10)  # noqa: E731
    found = [
        region_probabilities(Volume(image, REGION.affine), REGION, b, [scale], mirrored=False) for b in (coronal, axial)
    ]
    np.testing.assert_array_equal(*found)
    assert found[0][..., 1].sum() == 20 * 10 * 20


def test_largest_component_and_holes():
    mask = np.zeros((9, 9, 9), bool)
    mask[1:6, 1:6, 1:6] = True
    mask[3, 3, 3] = False
    mask[8, 8, 8] = True
    kept = fill_holes(largest_component(mask))
    assert kept.sum() == 125
    assert not fill_holes(np.zeros((3, 3, 3), bool)).any()


def test_a_side_may_be_missing_where_the_model_says_so():
    seldom = replace(HYPO, plausible=replace(HYPO.plausible, may_be_missing=True))
    found = delineate(_blobs(REGION, 5.0, 0.0)[None], REGION, REGION, seldom)
    left, right, both = (one.volume_mm3 for one in found.volumes)
    assert left is not None and left > 300 and right is None and both is None
    assert set(np.unique(found.labels)) == {0, HYPO.parts[0].index}

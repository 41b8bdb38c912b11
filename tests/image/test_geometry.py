"""Grids, resampling and slices: the same volume whatever its orientation."""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from bids_hypo.image.grid import Grid, apply_affine, bounding_box, box_grid
from bids_hypo.image.resample import resample, resample_probability
from bids_hypo.image.slices import orient, restore, stack_neighbours, unstack
from bids_hypo.image.volume import Volume


def _blob(shape=(40, 44, 36), affine=None) -> Volume:
    """A smooth blob that is not symmetric, defined in world coordinates."""
    affine = np.diag([1.0, 1, 1, 1]) if affine is None else affine
    affine = affine.copy()
    affine[:3, 3] = -apply_affine(np.block([[affine[:3, :3], np.zeros((3, 1))], [np.zeros((1, 3)), np.eye(1)]]),
                                  (np.array(shape) - 1) / 2)  # fmt: skip
    points = apply_affine(affine, np.stack(np.indices(shape), -1))
    data = np.exp(-(((points - [3, -2, 4]) / [6, 8, 5]) ** 2).sum(-1))
    return Volume(data.astype(np.float32), affine)


def test_the_box_of_a_mask():
    mask = np.zeros((10, 12, 14), bool)
    mask[2, 3:7, 5] = mask[8, 4, 13] = True
    assert bounding_box(mask) == (slice(2, 9), slice(3, 7), slice(5, 14))
    assert bounding_box(mask, np.array([3, 1, 0])) == (slice(0, 12), slice(2, 8), slice(5, 14))
    assert all(s.start == s.stop == 0 for s in bounding_box(np.zeros_like(mask), 2))


TARGET = box_grid(np.zeros(3), np.eye(3), (30, 30, 30), np.full(3, 1.0))


@pytest.mark.parametrize("orientation", ["RAS", "LAS", "LPS", "PSR", "SAL"])
def test_resampling_does_not_depend_on_orientation(orientation):
    volume = _blob()
    image = nib.Nifti1Image(volume.data, volume.affine)
    turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(orientation))
    turned = image.as_reoriented(turn)
    other = Volume(np.asarray(turned.dataobj), turned.affine)
    np.testing.assert_allclose(resample(other, TARGET).data, resample(volume, TARGET).data, atol=1e-4)


def test_resampling_an_oblique_image_finds_the_same_world():
    angle = np.radians(25)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    straight, oblique = resample(_blob(), TARGET).data, resample(_blob((52, 52, 40), affine), TARGET).data
    assert np.abs(straight - oblique).max() < 0.03


def test_coarser_targets_are_smoothed_first():
    rng = np.random.default_rng(1)
    noise = Volume(rng.normal(size=(60, 60, 60)).astype(np.float32), np.diag([0.5, 0.5, 0.5, 1.0]))
    coarse = box_grid(noise.grid.centre_mm(), np.eye(3), (12, 12, 12), np.full(3, 2.0))
    assert resample(noise, coarse).data.std() < 0.35
    same = box_grid(noise.grid.centre_mm(), np.eye(3), (59, 59, 59), np.full(3, 0.5))
    assert resample(noise, same).data.std() > 0.3


def _spread(ratio: float, *, sharp: bool) -> float:
    """Standard deviation, in voxels of the source, of what becomes of one bright plane on a grid that is coarser."""
    at, weight = [], []
    for shift in np.arange(0, ratio, 0.1):
        plane = np.zeros((8, 41, 8), np.float32)
        plane[:, 20] = 1
        spacing = np.array([1.0, ratio, 1.0])
        grid = box_grid(np.array([3.5, 20 + shift, 3.5]), np.eye(3), (4, 9, 4), spacing)
        found = resample(Volume(plane, np.eye(4)), grid, sharp=sharp).data[1, :, 1]
        at.append(grid.affine[1, 3] + ratio * np.arange(9) - 20)
        weight.append(found)
    at, weight = np.concatenate(at), np.concatenate(weight)
    return float(np.sqrt((weight * at**2).sum() / weight.sum()))


@pytest.mark.parametrize("ratio", [2.5, 3.3])
def test_a_sharp_image_is_as_sharp_as_one_with_larger_voxels(ratio):
    of_a_box = np.sqrt((ratio**2 - 1) / 12)
    assert _spread(ratio, sharp=True) == pytest.approx(of_a_box, rel=0.1)
    assert _spread(ratio, sharp=False) > 1.2 * of_a_box


def test_a_little_coarser_is_not_smoothed_when_sharp():
    assert _spread(1.5, sharp=True) == pytest.approx(np.sqrt(1 / 6), rel=0.02)  # linear interpolation alone
    assert _spread(1.5, sharp=False) > 1.15 * _spread(1.5, sharp=True)


def test_volume_is_kept_when_probabilities_come_back():
    fine = box_grid(np.zeros(3), np.eye(3), (80, 80, 80), np.full(3, 0.5))
    points = apply_affine(fine.affine, np.stack(np.indices(fine.shape), -1))
    ball = 1 / (1 + np.exp(4 * (np.linalg.norm(points - [1, 2, -1], axis=-1) - 8)))
    angle = np.radians(20)
    axes = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    native = box_grid(np.array([0.3, 0.1, 0]), axes, (50, 50, 50), np.array([0.9, 1.1, 1.0]))
    values, box = resample_probability(ball, fine.affine, native)
    assert values.sum() * native.voxel_volume_mm3 == pytest.approx(ball.sum() * 0.125, rel=0.01)
    whole = np.zeros(native.shape)
    whole[box] = values
    centre = apply_affine(native.affine, np.array(ndimage.center_of_mass(whole)))
    np.testing.assert_allclose(centre, [1, 2, -1], atol=0.05)


def test_classes_share_a_box_and_are_as_alone():
    rng = np.random.default_rng(3)
    several = np.zeros((20, 20, 20, 2))
    several[3:8, 4:9, 5:10, 0], several[11:16, 9:14, 8:13, 1] = rng.random((2, 5, 5, 5))
    affine = np.diag([0.7, 0.8, 0.9, 1.0])
    native = box_grid(np.full(3, 8.0), np.eye(3), (16, 16, 16), np.full(3, 1.0))
    values, box = resample_probability(several, affine, native)
    whole = np.zeros((*native.shape, 2))
    whole[box] = values
    for k in range(2):
        alone, own_box = resample_probability(several[..., k], affine, native)
        expected = np.zeros(native.shape)
        expected[own_box] = alone
        assert alone.size < values[..., k].size
        np.testing.assert_allclose(whole[..., k], expected, atol=1e-6)


@pytest.mark.parametrize("classes", [(), (2,)])
def test_an_empty_probability_gives_an_empty_box(classes):
    values, box = resample_probability(np.zeros((4, 4, 4, *classes)), np.eye(4), Grid((5, 5, 5), np.eye(4)))
    assert values.shape == (0, 0, 0, *classes)
    assert np.ones((5, 5, 5))[box].size == 0


def test_box_grid_centre_and_axes():
    grid = box_grid(np.array([1.0, 2, 3]), np.eye(3)[:, [1, 0, 2]], (5, 6, 7), np.array([2.0, 3, 4]))
    np.testing.assert_allclose(grid.centre_mm(), [1, 2, 3])
    np.testing.assert_allclose(grid.voxel_sizes_mm, [2, 3, 4])
    assert grid.voxel_volume_mm3 == pytest.approx(24)


def test_neighbours_are_channels_in_order_and_zero_beyond_the_ends():
    data = np.arange(5, dtype=np.float32)[None, :, None] * np.ones((2, 1, 3), np.float32)
    stack = stack_neighbours(data, (-1, 0, 2))
    assert stack.shape == (5, 2, 3, 3)
    np.testing.assert_array_equal(stack[:, 0, 0], [[0, 0, 2], [0, 1, 3], [1, 2, 4], [2, 3, 0], [3, 4, 0]])


@settings(max_examples=20, deadline=None)
@given(st.tuples(*[st.integers(1, 6)] * 3))
def test_unstack_undoes_stacking(shape):
    data = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    np.testing.assert_array_equal(unstack(stack_neighbours(data, (0,)))[..., 0], data)


@pytest.mark.parametrize("code", ["RS", "LS", "RI", "LI", "SR", "SL", "IR", "IL"])
def test_slices_are_laid_as_a_model_wants_them(code):
    x, z = np.meshgrid(np.arange(5), np.arange(7), indexing="ij")
    slices = (x + 100 * z)[None, ..., None].astype(np.float32)
    turned = orient(slices, code)
    step = {"R": 1, "L": -1, "S": 100, "I": -100}
    for axis, letter in enumerate(code, start=1):
        assert (np.diff(turned, axis=axis) == step[letter]).all()
    np.testing.assert_array_equal(restore(turned, code), slices)

"""Overlap and surface distances against values worked out by hand, and against scikit-learn and scikit-image."""

import numpy as np
import pytest
from skimage.metrics import hausdorff_distance
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

from bids_hypo.measure.overlap import overlap
from bids_hypo.measure.surface_distance import border_points_mm, surface_distance

SCALED = np.diag([0.5, 2.0, 1.0, 1.0])


def _box(shape, *slices):
    mask = np.zeros(shape, bool)
    mask[slices] = True
    return mask


def test_overlap_by_hand():
    true, found = _box((4, 4), slice(0, 2)), _box((4, 4), slice(1, 4))  # 8 true, 12 found, 4 both
    got = overlap(found, true)
    assert (got.iou, got.dice, got.precision, got.recall) == pytest.approx((4 / 16, 8 / 20, 4 / 12, 4 / 8))


def test_overlap_as_in_scikit_learn():
    rng = np.random.default_rng(1)
    true, found = rng.random((6, 7, 8)) > 0.6, rng.random((6, 7, 8)) > 0.4
    flat = (true.ravel(), found.ravel())
    expected = [score(*flat) for score in (jaccard_score, f1_score, precision_score, recall_score)]
    got = overlap(found, true)
    assert [got.iou, got.dice, got.precision, got.recall] == pytest.approx(expected)


def test_empty_masks():
    nothing, something = np.zeros((3, 3, 3), bool), np.ones((3, 3, 3), bool)
    missed = overlap(nothing, something)
    assert (missed.iou, missed.dice, missed.recall) == (0, 0, 0)
    assert np.isnan(missed.precision)
    assert overlap(nothing, nothing).iou == 1
    distance = surface_distance(nothing, something, np.eye(4))
    assert np.isnan(distance.hausdorff95_mm) and np.isnan(distance.mean_mm)


def test_different_shapes_are_refused():
    for compare in (overlap, lambda a, b: surface_distance(a, b, np.eye(4))):
        with pytest.raises(ValueError, match="resample"):
            compare(np.ones((2, 2, 2)), np.ones((2, 2, 3)))


def test_parallel_planes_are_as_far_apart_as_the_voxels_say():
    a, b = _box((9, 5, 5), 2), _box((9, 5, 5), 6)
    got = surface_distance(a, b, SCALED)
    assert (got.hausdorff95_mm, got.mean_mm) == pytest.approx((4 * 0.5, 4 * 0.5))


def test_a_sheared_affine_is_measured_as_it_is():
    affine = np.eye(4)
    affine[:3, :3] = [[1, 0.5, 0], [0, 2, 0], [0, 0, 3]]
    a, b = _box((4, 4, 4), 0, 0, 0), _box((4, 4, 4), 1, 2, 1)
    assert surface_distance(a, b, affine).mean_mm == pytest.approx(np.sqrt(2**2 + 4**2 + 3**2))


def test_one_far_voxel_counts_for_the_mean_but_not_for_the_95th_percentile():
    a = _box((40, 1, 20), slice(None), 0, 0)
    b = a.copy()
    b[0, 0, 10] = True
    got = surface_distance(a, b, np.eye(4))
    assert got.hausdorff95_mm == 0
    assert got.mean_mm == pytest.approx(10 / (40 + 41))
    assert surface_distance(b, a, np.eye(4)) == got
    assert hausdorff_distance(a, b) == 10  # the full distance would be ruled by that voxel


def test_border_leaves_the_inside_out_and_keeps_the_edge_of_the_image():
    cube = _box((3, 3, 3), slice(0, 3), slice(0, 3), slice(0, 3))
    assert len(border_points_mm(cube, np.eye(4))) == 26

"""The head's grid, structures cut by the field of view, and leaks; the network is a plain function here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import center_of_mass

from bids_hypo.errors import SegmentationError
from bids_hypo.image.grid import apply_affine, box_grid
from bids_hypo.image.volume import Volume
from bids_hypo.models.bundle import ModelBundle, Preprocessing
from bids_hypo.segmentation.anatomy import find_anatomy, head_grid, icv_threshold, run_anatomy, without_leaks
from bids_hypo.segmentation.icv import native_icv

LABELS = ("background", "intracranial", "left thalamus", "right thalamus")
PRE = Preprocessing((2.0, 2.0, 2.0), (96, 112, 128), "coronal", (0,), "foreground")
BUNDLE = ModelBundle("anatomy", "0", "head", None, ("T1w",), LABELS, {}, PRE, (), {}, "", "")  # type: ignore[arg-type]


def _ball_scan(centre, radius=70.0, shape=(100, 110, 100), spacing=2.0, values=(100.0, 300.0)):
    grid = box_grid(np.zeros(3), np.eye(3), shape, np.full(3, spacing))
    points = apply_affine(grid.affine, np.stack(np.indices(shape), -1))
    distance = np.linalg.norm(points - centre, axis=-1)
    data = np.where(distance < radius, values[0], 0.0)
    for x in (-14, 14):
        data[np.linalg.norm(points - centre - [x, -10, 0], axis=-1) < 9] = values[1]
    return Volume(data.astype(np.float32), grid.affine)


def _network(x):
    """Bright is thalamus (left of the grid's middle is left), medium is intracranial."""
    image = x[..., 0]
    out = np.zeros((*image.shape, 4), np.float32)
    left = (np.arange(image.shape[1]) < image.shape[1] // 2)[None, :, None]
    bright = image > 1.5
    out[..., 2], out[..., 3] = bright & left, bright & ~left
    out[..., 1] = (image > 0.4) & ~bright
    out[..., 0] = 1 - out.sum(-1)
    return out


@pytest.mark.parametrize("centre", [(0, 0, 0), (12, -15, 8)])
def test_the_grid_follows_the_head_and_structures_are_found(centre):
    scan = _ball_scan(np.array(centre))
    grid = head_grid(scan, BUNDLE)
    np.testing.assert_allclose(grid.centre_mm(), centre, atol=3)
    found = run_anatomy(scan, grid, BUNDLE, _network)
    np.testing.assert_allclose(found.centroids_mm["left thalamus"], np.add(centre, [-14, -10, 0]), atol=1)
    np.testing.assert_allclose(found.centroids_mm["right thalamus"], np.add(centre, [14, -10, 0]), atol=1)
    icv = native_icv(found.icv_probability, found.grid, scan.grid)
    assert icv.sum() * 8 == pytest.approx(4 / 3 * np.pi * 70**3, rel=0.03)


def test_a_grid_that_cuts_the_head_is_laid_again():
    scan = _ball_scan(np.array([0, 0, -20]), radius=70.0, shape=(100, 110, 150))
    raised = scan.data.copy()
    raised[45:65, 50:70, 60:148] = 110.0  # a hand on the head: the grid is hung from its top
    scan = Volume(raised, scan.affine)
    small = replace(BUNDLE, preprocessing=replace(PRE, shape=(96, 112, 80)))
    first = head_grid(scan, small)

    def only_the_head(x):  # what the network makes of it
        out = _network(x)
        z = apply_affine(scan_of[-1].affine, np.stack(np.indices((1, 1, x.shape[2])), -1))[0, 0, :, 2]
        out[:, :, z > 45] = [1, 0, 0, 0]
        return out

    scan_of = [first]
    cut = run_anatomy(scan, first, small, only_the_head)
    centre = apply_affine(first.affine, np.array(center_of_mass(cut.icv_probability > 0.5)))
    scan_of = [first, box_grid(centre, np.eye(3), (96, 112, 80), np.full(3, 2.0))]
    calls = iter(scan_of)

    def network(x):
        scan_of.append(next(calls))
        return only_the_head(x)

    found = find_anatomy(scan, small, network)
    assert found.icv_probability.sum() > 1.15 * cut.icv_probability.sum()
    assert found.grid.centre_mm()[2] < first.centre_mm()[2] - 15


def test_slices_without_tissue_are_not_sent_to_the_network():
    scan = _ball_scan(np.zeros(3), radius=50.0)
    grid, seen = head_grid(scan, BUNDLE), []

    def counting(x):
        seen.append(len(x))
        return _network(x)

    found = run_anatomy(scan, grid, BUNDLE, counting)
    assert sum(seen) < 0.6 * grid.shape[1]
    whole = native_icv(found.icv_probability, grid, scan.grid)
    assert whole.sum() * 8 == pytest.approx(4 / 3 * np.pi * 50**3, rel=0.03)


def test_the_threshold_is_that_of_the_bundle():
    assert icv_threshold(BUNDLE) == 0.5
    lower = icv_threshold(replace(BUNDLE, constants={"icv_threshold": 0.4}))
    assert lower == 0.4
    grid = head_grid(_ball_scan(np.zeros(3)), BUNDLE)
    at = apply_affine(grid.affine, np.stack(np.indices(grid.shape), -1).astype(float))
    soft = np.clip(0.5 + (60 - np.linalg.norm(at, axis=-1)) / 20, 0, 1)  # 0.5 at 60 mm, 0.1 less at each 2 mm
    for threshold, radius in ((0.5, 60), (lower, 62)):
        found_mm3 = native_icv(soft, grid, grid, threshold=threshold).sum() * grid.voxel_volume_mm3
        assert found_mm3 == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.01)


def test_a_structure_cut_by_the_field_of_view_gives_no_centroid():
    scan = _ball_scan(np.zeros(3))
    cut = Volume(scan.data[40:], scan.affine @ np.array([[1, 0, 0, 40.0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    found = run_anatomy(cut, head_grid(scan, BUNDLE), BUNDLE, _network)
    assert set(found.centroids_mm) == {"right thalamus"}


def test_no_brain_is_an_error_that_names_the_scan():
    scan = _ball_scan(np.zeros(3))
    with pytest.raises(SegmentationError, match=r"sub-05\.nii: found no brain"):
        run_anatomy(scan, head_grid(scan, BUNDLE), BUNDLE, lambda x: np.eye(4)[np.zeros(x.shape[:3], int)],
                    what="sub-05.nii")  # fmt: skip


def test_a_narrow_leak_is_cut_and_the_border_stays():
    mask = np.zeros((60, 60, 90), bool)
    points = np.stack(np.indices(mask.shape), -1) * 2.0
    ball = np.linalg.norm(points - [60, 60, 120], axis=-1) < 50
    leak = (np.hypot(points[..., 0] - 60, points[..., 1] - 60) < 4) & (points[..., 2] < 120)
    kept = without_leaks(ball | leak, np.full(3, 2.0)) & (ball | leak)
    assert (ball & ~kept).sum() == 0
    assert (kept & ~ball).sum() * 8 < 600

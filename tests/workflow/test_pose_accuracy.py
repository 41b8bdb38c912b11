"""How far two poses are apart, and the tables of it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bids_hypo.errors import SegmentationError
from bids_hypo.image.volume import Volume
from bids_hypo.segmentation.pose import Pose, fit_pose
from bids_hypo.train.contrasts import SynthesisOptions
from bids_hypo.train.headmaps import load_head_map
from bids_hypo.workflow import pose_accuracy
from bids_hypo.workflow.pose_accuracy import pose_agreement, pose_difference
from tests.train.conftest import head_file  # noqa: F401


def _pose(degrees=0.0, shift=(0.0, 0.0, 0.0), scale=1.0):
    rotation = Rotation.from_euler("z", degrees, degrees=True).as_matrix()
    return Pose(rotation, np.array(shift, float), scale, 1.0, ("left thalamus",) * 16)


def test_a_shift_is_the_same_everywhere():
    found = pose_difference(_pose(), _pose(shift=(3, 0, 4)))
    assert found["rotation_deg"] == pytest.approx(0, abs=1e-4)
    for name in ("hypothalamus_mm", "thalamus_mm", "dentate_mm", "region_mm"):
        assert found[name] == pytest.approx(5)


def test_a_turn_counts_more_far_away():
    found = pose_difference(_pose(10), _pose(16))
    assert found["rotation_deg"] == pytest.approx(6)
    assert found["hypothalamus_mm"] < found["thalamus_mm"] < found["dentate_mm"]
    assert found["scale_percent"] == pytest.approx(0)


def test_a_scan_without_a_pose_is_missed_and_the_others_are_not(tmp_path, monkeypatch):
    paths = [tmp_path / f"sub-{n}_T1w.nii.gz" for n in (1, 2)]

    def find_pose(scan, head, *, what="scan"):
        if head == "mine" and what == str(paths[0]):
            raise SegmentationError("no head")
        return _pose(2 if head == "mine" else 0)

    monkeypatch.setattr(pose_accuracy, "find_pose", find_pose)
    monkeypatch.setattr(pose_accuracy, "read_volume", lambda _: None)
    table = pose_agreement(paths, {"locator": "mine"}, "reference")
    assert np.isnan(table["rotation_deg"][0])
    assert table["rotation_deg"][1] == pytest.approx(2)


def test_the_true_pose_of_a_synthesised_scan_is_that_of_its_labels(head_file):  # noqa: F811
    head = load_head_map(head_file)
    still = SynthesisOptions(max_rotation_deg=0, scale_sd=0, max_shear=0, max_shift_mm=0, warp_mm=0, crop=1.0)
    scan, centroids = pose_accuracy._synthesised(head, still, [3])
    assert isinstance(scan, Volume) and len(centroids) == 16
    left, right = centroids["left thalamus"], centroids["right thalamus"]
    np.testing.assert_allclose(right - left, [22, 0, 0], atol=0.4)
    assert fit_pose(centroids, centroids).residual_mm < 1e-6

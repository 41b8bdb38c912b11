"""The pose is found again whatever the head's position, and nonsense is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from bids_hypo.errors import SegmentationError
from bids_hypo.segmentation.pose import fit_pose

TEMPLATE = {
    name: np.array(point, float)
    for name, point in {
        "left thalamus": (-11, -19, 7), "right thalamus": (11, -19, 7), "brainstem": (0, -31, -33),
        "left caudate": (-13, 10, 11), "right caudate": (13, 10, 11), "left putamen": (-25, 1, 0),
        "right putamen": (25, 1, 0), "left cerebellum": (-24, -63, -35), "right cerebellum": (24, -63, -35),
    }.items()
}  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(*[st.floats(-40, 40)] * 3),
    st.tuples(*[st.floats(-60, 60)] * 3),
    st.floats(0.8, 1.25),
)
def test_rotation_shift_and_scale_are_recovered(angles, shift, scale):
    rotation = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    found = {n: scale * rotation @ p + shift for n, p in TEMPLATE.items()}
    pose = fit_pose(found, TEMPLATE)
    np.testing.assert_allclose(pose.rotation, rotation, atol=1e-6)
    assert pose.scale == pytest.approx(scale)
    np.testing.assert_allclose(pose.place(np.array([0, -4, -10])), scale * rotation @ [0, -4, -10] + shift, atol=1e-6)
    assert np.linalg.det(pose.rotation) == pytest.approx(1)


def test_one_misplaced_structure_is_left_out():
    found = dict(TEMPLATE, **{"left putamen": TEMPLATE["left putamen"] + [0, 40, 0]})
    pose = fit_pose(found, TEMPLATE)
    assert "left putamen" not in pose.structures
    np.testing.assert_allclose(pose.rotation, np.eye(3), atol=1e-6)


def test_too_few_structures():
    with pytest.raises(SegmentationError, match=r"sub-07: found 3 of 9"):
        fit_pose(dict(list(TEMPLATE.items())[:3]), TEMPLATE, what="sub-07")


def test_scattered_structures_are_no_head():
    rng = np.random.default_rng(0)
    found = {n: rng.uniform(-60, 60, 3) for n in TEMPLATE}
    with pytest.raises(SegmentationError, match="do not lie as in a human head"):
        fit_pose(found, TEMPLATE)


@pytest.mark.parametrize("scale", [0.55, 1.6])
def test_a_brain_the_size_of_an_apple_or_a_melon_points_to_the_header(scale):
    with pytest.raises(SegmentationError, match=r"sub-03: by its header .* voxel sizes in the header"):
        fit_pose({n: scale * p for n, p in TEMPLATE.items()}, TEMPLATE, what="sub-03")


def test_a_mirrored_head_is_not_accepted_as_a_rotation():
    found = {n: p * [-1, 1, 1] for n, p in TEMPLATE.items()}
    with pytest.raises(SegmentationError):
        fit_pose(found, TEMPLATE)

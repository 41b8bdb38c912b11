"""The intracranial volume by a model of its own: its slices lie where its bundle says."""

from dataclasses import replace

import numpy as np
import pytest

from bids_hypo.models.bundle import ModelBundle, Preprocessing
from bids_hypo.segmentation.icv import icv_by_own_model
from bids_hypo.segmentation.pose import Pose
from tests.phantoms import HEAD_SHELLS, PHANTOM_ICV_MM3, inside_ellipsoid, phantom_head, world_mm

PRE = Preprocessing((2.0, 4.0, 2.0), (96, 56, 96), "coronal", (0, 0, 0), "white matter", "IL")
BUNDLE = ModelBundle("icv", "0", "icv", None, ("T1w",), ("background", "intracranial"), {}, PRE, (),
                     {"region_centre_mm": [0, -3, -2]}, "", "")  # fmt: skip
POSE = Pose(np.eye(3), np.array([4.0, -6.0, 10.0]), 1.1, 0.0, ())


def _seen_slices(bundle):
    """The slices of a skull-stripped head that a network gets which takes all tissue, and the volume found."""
    head, seen = phantom_head(noise_sd=0), []
    about = inside_ellipsoid(world_mm(head.data.shape, head.affine), (0, 0, 0), HEAD_SHELLS[2][1])
    head.data[~about] = 0

    def network(x):
        seen.append(x)
        return np.stack([x[..., 0] < 0.04, x[..., 0] >= 0.04], axis=-1).astype(np.float32)

    mask = icv_by_own_model(head, POSE, about, bundle, network)
    return np.concatenate(seen), mask.sum() * head.grid.voxel_volume_mm3


def test_the_plane_of_the_commissures_lies_in_the_middle_row():
    slices, volume_mm3 = _seen_slices(BUNDLE)
    assert slices.shape == (56, 96, 96, 3)
    rows, columns = (np.flatnonzero((slices[..., 0] > 0.05).any(axis=axes)) for axes in ((0, 2), (0, 1)))
    # the head's middle lies at 0, the plane at 10 - 2.2 mm: so there is more below it; the right side comes first
    assert rows.mean() == pytest.approx(47.5 + 7.8 / 2, abs=1)
    assert columns.mean() == pytest.approx(47.5 + 4.0 / 2, abs=1)
    assert volume_mm3 == pytest.approx(PHANTOM_ICV_MM3, rel=0.03)


def test_a_bundle_that_does_not_say_where_gets_slices_about_the_head():
    slices, _ = _seen_slices(replace(BUNDLE, constants={}))
    rows = np.flatnonzero((slices[..., 0] > 0.05).any(axis=(0, 2)))
    assert rows.mean() == pytest.approx(47.5, abs=1)

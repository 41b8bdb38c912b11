"""An inverted susceptibility map is refused; noise alone, and an image that ends before, are not."""

from __future__ import annotations

import numpy as np
import pytest

from bids_hypo.errors import SegmentationError
from bids_hypo.image.grid import apply_affine
from bids_hypo.image.volume import Volume
from bids_hypo.segmentation.pose import Pose
from bids_hypo.segmentation.sign import NUCLEI_MM, check_sign

TURN = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # a head that looks to the right of the scanner
POSE = Pose(TURN, np.array([5.0, -3.0, 2.0]), 0.95, 1.0, ())


def _map(nuclei_ppm: float) -> Volume:
    affine = np.diag([2.0, 2.0, 2.5, 1.0])
    affine[:3, 3] = -70, -70, -60
    data = np.random.default_rng(0).normal(-0.01, 0.03, (70, 70, 48)).astype(np.float32)
    points = apply_affine(affine, np.moveaxis(np.indices(data.shape), 0, -1))
    for (x, y, z), _ in NUCLEI_MM.values():
        for side in (-1, 1):
            data[np.linalg.norm(points - POSE.place(np.array((side * x, y, z))), axis=-1) < 5] += nuclei_ppm
    return Volume(data, affine)


def test_an_inverted_map_is_refused_with_the_remedy():
    check_sign(_map(0.08), POSE, what="sub-01")
    check_sign(_map(0.0), POSE, what="sub-01")
    with pytest.raises(SegmentationError, match=r"sub-01: deep grey nuclei are darker.*Multiply its values by -1"):
        check_sign(_map(-0.08), POSE, what="sub-01")


def test_where_the_image_does_not_hold_the_nuclei_nothing_is_said():
    away = Pose(POSE.rotation, np.array([0.0, 0.0, 400.0]), 1.0, 1.0, ())
    check_sign(_map(-0.08), away, what="sub-01")

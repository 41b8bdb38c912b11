"""Parts on a grid."""

from __future__ import annotations

import numpy as np

from bids_hypo.image.grid import Grid
from bids_hypo.image.parts import Parts, likeliest, masks_on
from bids_hypo.image.volume import Volume


def test_where_parts_meet_the_likeliest_has_the_voxel():
    """Four voxels in a row: one part alone, two where none reaches half, and one that is mostly outside."""
    probability = {"front": [0.9, 0.4, 0.25, 0.2], "middle": [0.0, 0.35, 0.3, 0.2], "back": [0.0, 0.25, 0.35, 0.05]}
    kinds = {
        name: {"L": Volume(np.array(row, np.float32)[:, None, None], np.eye(4))} for name, row in probability.items()
    }
    parts = Parts({"L": Volume(np.array([0.9, 1.0, 0.9, 0.45], np.float32)[:, None, None], np.eye(4))}, kinds)
    grid = Grid((4, 1, 1), np.eye(4))
    found = likeliest(parts, grid)
    masks = {name: masks_on(found.kind(name), grid)["B"].ravel().tolist() for name in probability}
    assert masks == {
        "front": [True, True, False, False], "middle": [False] * 4, "back": [False, False, True, False]
    }  # fmt: skip
    assert found.of is parts.of
    assert sum(found.kind(name).volumes_mm3()["B"] for name in probability) == parts.volumes_mm3()["B"] == 3


def test_without_parts_nothing_changes():
    parts = Parts({"B": Volume(np.ones((2, 2, 2), np.float32), np.eye(4))})
    assert likeliest(parts, Grid((2, 2, 2), np.eye(4))) is parts

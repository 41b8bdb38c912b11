"""Volumes, flags and overlap, against values worked out by hand."""

import numpy as np
import pytest

from bids_hypo.image.grid import box_grid
from bids_hypo.measure.overlap import dice, volume_error_percent
from bids_hypo.measure.quality import FLAG_TEXTS, cut_area_mm2, hypothalamus_flags, icv_flags, tissue_outside
from bids_hypo.measure.volumes import mask_volume_mm3, volume_table

GRID = box_grid(np.zeros(3), np.eye(3), (90, 100, 90), np.full(3, 2.0))


def _ball(radius, grid=GRID):
    points = np.stack(np.indices(grid.shape), -1) * grid.voxel_sizes_mm + grid.affine[:3, 3]
    return np.linalg.norm(points, axis=-1) < radius


def test_dice_by_hand():
    a, b = np.zeros((4, 4)), np.zeros((4, 4))
    a[0, :4], b[0, 2:4], b[1, 0:2] = 1, 1, 1
    assert dice(a, b) == pytest.approx(2 * 2 / (4 + 4))
    assert dice(np.zeros(3), np.zeros(3)) == 1
    assert volume_error_percent(110, 100) == pytest.approx(10)
    with pytest.raises(ValueError, match="resample"):
        dice(np.zeros(3), np.zeros(4))


GOOD = {"touches_border": False, "pose_residual_mm": 2.0, "voxel_sizes_mm": np.ones(3)}


@pytest.mark.parametrize(
    ("volumes", "change", "flag"),
    [
        ((400.0, 400.0), {}, None),
        ((400.0, 300.0), {}, "asymmetric"),
        ((200.0, 200.0), {}, "small_volume"),
        ((750.0, 750.0), {}, "large_volume"),
        ((400.0, 400.0), {"touches_border": True}, "touches_region_border"),
        ((400.0, 400.0), {"pose_residual_mm": 6.0}, "pose_uncertain"),
        ((400.0, 400.0), {"voxel_sizes_mm": np.array([1, 1, 1.7])}, "coarse_voxels"),
        ((400.0, 400.0), {"voxel_sizes_mm": np.array([1, 1, 1.6000001])}, None),
    ],
)
def test_each_flag_alone(volumes, change, flag):
    flags = hypothalamus_flags(volumes, **{**GOOD, **change})
    assert flags == (() if flag is None else (flag,))
    assert all(f in FLAG_TEXTS for f in flags)


def test_skull_stripping_is_noticed_and_a_whole_head_is_not():
    icv = _ball(70)
    image = np.where(icv, 1.0, 0.0)
    assert icv_flags(image, icv * 1.0, GRID, icv, GRID) == ("skull_stripped",)
    head = image + np.where(_ball(88) & ~_ball(76), 0.8, 0)  # scalp
    assert icv_flags(head, icv * 1.0, GRID, icv, GRID) == ()
    assert tissue_outside(head, icv, GRID) > 0.5


def test_a_head_cut_by_the_field_of_view_is_noticed():
    icv = _ball(70)
    image = np.where(_ball(85), 1.0, 0.0)
    cut = icv[:, :, 20:]
    assert "icv_cut_by_field_of_view" in icv_flags(image, icv * 1.0, GRID, cut, GRID)
    assert cut_area_mm2(icv, GRID) == 0
    assert cut_area_mm2(cut, GRID) == pytest.approx(4 * icv[:, :, 20].sum())


def test_the_table():
    assert mask_volume_mm3(np.array([0, 1, 2, 0]), 0.5) == 1.0
    table = volume_table(400.1, 410.2, None, hypothalamus_flags=("asymmetric", "coarse_voxels"), icv_flags=())
    whole = table[(table.structure == "hypothalamus") & (table.hemisphere == "B")].iloc[0]
    assert whole.volume_mm3 == pytest.approx(810.3)
    assert whole["flags"] == "asymmetric;coarse_voxels"
    assert table[table.structure == "ICV"].volume_mm3.isna().all()

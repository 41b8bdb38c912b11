"""Volumes, flags and overlap, against values worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from bids_hypo.bids.sidecars import read_structures, structure_record
from bids_hypo.errors import SegmentationError
from bids_hypo.image.grid import box_grid
from bids_hypo.measure.overlap import dice, volume_error_percent
from bids_hypo.measure.quality import (
    FLAG_TEXTS,
    cut_area_mm2,
    icv_flags,
    icv_size_flags,
    structure_flags,
    tissue_outside,
)
from bids_hypo.measure.volumes import PartVolume, icv_volume, mask_volume_mm3, part_volumes, volume_table
from bids_hypo.segmentation.icv import check_possible
from bids_hypo.structures import Sum
from tests.finished import TRIDENT, structure_named

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
    hypothalamus = structure_named("hypothalamus")
    flags = structure_flags(part_volumes(hypothalamus, volumes), hypothalamus.plausible, **{**GOOD, **change})
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


@pytest.mark.parametrize(
    ("litres", "flags"), [(0.9, ("small_head",)), (1.05, ()), (1.5, ()), (2.05, ()), (3.1, ("large_head",))]
)
def test_a_head_of_no_usual_size_is_flagged(litres, flags):
    assert icv_size_flags(litres * 1e6) == flags
    assert all(flag in FLAG_TEXTS for flag in flags)


def test_a_head_cut_by_the_field_of_view_is_not_called_small():
    icv = _ball(60)  # 0.9 litres
    image = np.where(_ball(85), 1.0, 0.0)
    assert icv_flags(image, icv * 1.0, GRID, icv, GRID) == ("small_head",)
    assert icv_flags(image, icv * 1.0, GRID, icv[:, :, 30:], GRID) == ("icv_cut_by_field_of_view",)


@pytest.mark.parametrize(("litres", "cut", "possible"), [(0.3, False, False), (0.3, True, True), (4.0, True, False)])
def test_what_no_head_holds_points_to_the_header(litres, cut, possible):
    if possible:
        check_possible(litres * 1e6, GRID, cut=cut)
        return
    with pytest.raises(SegmentationError, match=r"sub-01: .* voxels of 2.00 x 2.00 x 2.00 mm right"):
        check_possible(litres * 1e6, GRID, cut=cut, what="sub-01")


def test_a_part_that_is_missing_is_flagged():
    volumes = part_volumes(TRIDENT, [300.0, 310.0, 2.0])
    assert structure_flags(volumes, TRIDENT.plausible, **GOOD) == ("small_part",)


def test_the_table():
    assert mask_volume_mm3(np.array([0, 1, 2, 0]), 0.5) == 1.0
    folds = np.array([[400.0, 410.0], [402.0, 410.0]])
    volumes = part_volumes(structure_named("hypothalamus"), [400.1, 410.2], folds)
    table = volume_table({"ICV": (icv_volume(None), ()), "hypothalamus": (volumes, ("asymmetric", "coarse_voxels"))})
    assert table["structure"].tolist() == ["hypothalamus"] * 3 + ["ICV"] and set(table["part"]) == {"whole"}
    whole = table[(table.structure == "hypothalamus") & (table.hemisphere == "B")].iloc[0]
    assert whole.volume_mm3 == pytest.approx(810.3) and whole.volume_sd_mm3 == pytest.approx(np.sqrt(2), abs=1e-3)
    assert whole["flags"] == "asymmetric;coarse_voxels"
    assert table[table.structure == "ICV"].volume_mm3.isna().all()


def test_parts_have_rows_of_their_own_and_only_some_count_in_the_whole():
    rows = part_volumes(TRIDENT, [1.0, 2.0, 4.0])
    assert rows == (
        PartVolume("prong", "L", 1.0), PartVolume("prong", "R", 2.0), PartVolume("shaft", "M", 4.0),
        PartVolume("whole", "L", 1.0), PartVolume("whole", "R", 2.0), PartVolume("whole", "B", 3.0),
    )  # fmt: skip


def test_a_sum_has_rows_of_its_own_with_sides_and_spread():
    every = replace(TRIDENT, sums=(Sum("all of it", ("prong", "shaft")), Sum("prongs", ("prong",))))
    folds = np.array([[1.0, 2.0, 4.0], [1.5, 2.0, 3.5]])
    rows = {(one.part, one.hemisphere): one for one in part_volumes(every, [1.0, 2.0, 4.0], folds)}
    assert [rows["all of it", side].volume_mm3 for side in "LRB"] == [1.0, 2.0, 7.0]
    assert [rows["prongs", side].volume_mm3 for side in "LRB"] == [1.0, 2.0, 3.0]
    assert rows["all of it", "B"].volume_sd_mm3 == 0 < rows["prongs", "B"].volume_sd_mm3
    assert rows["whole", "B"].volume_mm3 == 3.0
    record = structure_record(every, {}, {"contrast": 1.0, "contrast_to_noise": 1.0})
    assert read_structures({"Structures": {"trident": record}})["trident"] == every

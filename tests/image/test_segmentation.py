"""Segmentations of several forms and grids become the same masks."""

import nibabel as nib
import numpy as np
import pytest

from bids_hypo.errors import ScanReadError
from bids_hypo.image.grid import Grid
from bids_hypo.image.label_numbers import LEFT_RIGHT, Labels, Wanted
from bids_hypo.image.parts import carried, common_grid, masks_on, same_lattice
from bids_hypo.image.segmentation import read_parts
from bids_hypo.structures import HYPOTHALAMUS
from tests.phantoms import affine_for, inside_ellipsoid, world_mm, write_scan

HYPO = Wanted(HYPOTHALAMUS)
SHAPE = (24, 22, 20)
AFFINE = affine_for("RAS", (1.0, 1.0, 1.0), SHAPE)
CENTRES = {"L": (-5.2, 0.0, 0.0), "R": (5.2, 0.0, 0.0)}
RADII = {"L": (3.3, 5.2, 4.1), "R": (2.7, 4.4, 4.1)}  # the left one is larger
ANY_FORM = ["dseg", "freesurfer", "fastsurfer", "frames", "probability pair", "mask pair", "mgz"]


def _halves(shape=SHAPE, affine=AFFINE):
    points = world_mm(shape, affine)
    return {side: inside_ellipsoid(points, CENTRES[side], RADII[side]) for side in "LR"}


def _write(folder, form, shape=SHAPE, affine=AFFINE):
    half = _halves(shape, affine)
    left, right = half["L"], half["R"]
    if form.endswith("pair"):
        values = 0.9 if form.startswith("prob") else 1
        dtype = np.float32 if form.startswith("prob") else np.uint8
        return {s: write_scan(folder / f"{s}.nii.gz", half[s] * values, affine, dtype) for s in "LR"}
    if form == "frames":
        return {"B": write_scan(folder / "p.nii.gz", np.stack([left * 0.8, right * 0.8], -1), affine, np.float32)}
    if form == "mgz":
        (folder / "x").mkdir()
        image = nib.MGHImage((left * 803 + right * 808).astype(np.int32), affine)
        nib.save(image, folder / "seg.mgz")
        return {"B": folder / "seg.mgz"}
    numbers = {"dseg": (1, 2), "freesurfer": (801, 810), "fastsurfer": (977, 984)}[form]
    data = left * numbers[0] + right * numbers[1]
    if form == "fastsurfer":
        data[0, 0, 0] = 961  # the optic nerve is no part of it
    return {"B": write_scan(folder / "seg.nii.gz", data, affine)}


@pytest.mark.parametrize("form", ANY_FORM)
def test_every_form_gives_the_same_halves(form, tmp_path):
    half = _halves()
    parts = read_parts(_write(tmp_path, form), None, None, HYPO)
    left, right = (float(half[side].sum()) for side in "LR")
    assert parts.volumes_mm3() == pytest.approx({"L": left, "R": right, "B": left + right})
    masks = masks_on(parts, Grid(SHAPE, AFFINE))
    assert all(np.array_equal(masks[side], half[side]) for side in "LR")
    assert np.array_equal(masks["B"], half["L"] | half["R"])


def test_one_mask_has_no_sides(tmp_path):
    half = _halves()
    path = write_scan(tmp_path / "m.nii.gz", (half["L"] | half["R"]) * 255, AFFINE)
    parts = read_parts({"B": path}, None, None, HYPO)
    assert not parts.has_sides
    assert list(masks_on(parts, Grid(SHAPE, AFFINE))) == ["B"]


@pytest.mark.parametrize("orientation", ["LAS", "LPS", "PIR"])
def test_the_order_of_the_axes_does_not_matter(orientation, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    shape = (24, 24, 24)
    true = read_parts(_write(tmp_path / "a", "dseg", shape, affine_for("RAS", (1, 1, 1), shape)), "dseg", None, HYPO)
    found = read_parts(
        _write(tmp_path / "b", "dseg", shape, affine_for(orientation, (1, 1, 1), shape)), "dseg", None, HYPO
    )
    grid = common_grid(true, found)
    assert all(same_lattice(part.grid, grid) for part in found.of.values())
    a, b = masks_on(true, grid), masks_on(found, grid)
    assert all(np.array_equal(a[side], b[side]) and a[side].any() for side in "LRB")


def test_another_grid_is_interpolated_onto_the_truths(tmp_path):
    (tmp_path / "fine").mkdir()
    (tmp_path / "coarse").mkdir()
    fine = affine_for("RAS", (0.5, 0.5, 0.5), (48, 44, 40))
    coarse = affine_for("LPS", (1.2, 1.0, 1.1), SHAPE, rotation_deg=12)
    true = read_parts(_write(tmp_path / "fine", "dseg", (48, 44, 40), fine), "dseg", None, HYPO)
    found = read_parts(_write(tmp_path / "coarse", "frames", SHAPE, coarse), "probseg", None, HYPO)
    grid = common_grid(true, found)
    assert grid.voxel_sizes_mm == pytest.approx([0.5] * 3)
    assert same_lattice(true.grid, grid) and not same_lattice(next(iter(found.of.values())).grid, grid)
    a, b = masks_on(true, grid), masks_on(found, grid)
    for side in "LR":
        assert 2 * (a[side] & b[side]).sum() / (a[side].sum() + b[side].sum()) > 0.85
    perfect = masks_on(carried(true, found), grid)
    assert 0.85 < 2 * (a["B"] & perfect["B"]).sum() / (a["B"].sum() + perfect["B"].sum()) < 1
    assert np.array_equal(masks_on(carried(true, true), grid)["B"], a["B"])
    assert a["L"].sum() * 0.125 == pytest.approx(true.volumes_mm3()["L"])


def test_the_common_grid_holds_what_lies_outside_the_truths_image(tmp_path):
    small = write_scan(tmp_path / "t.nii.gz", np.pad(np.ones((2, 2, 2)), 1), np.eye(4), np.uint8)
    moved = np.eye(4)
    moved[:3, 3] = 10, 0, 0
    far = write_scan(tmp_path / "p.nii.gz", np.pad(np.ones((2, 2, 2)), 1), moved, np.uint8)
    true, found = (read_parts({"B": path}, "mask", None, HYPO) for path in (small, far))
    masks = [masks_on(parts, common_grid(true, found))["B"] for parts in (true, found)]
    assert [m.sum() for m in masks] == [8, 8]
    assert not (masks[0] & masks[1]).any()


def test_labels_may_be_told(tmp_path):
    data = np.zeros((6, 4, 4))
    data[0], data[1], data[4], data[5] = 11, 12, 21, 99
    path = write_scan(tmp_path / "s.nii.gz", data, np.eye(4))
    labels = {"L": frozenset({11, 12}), "R": frozenset({21}), "B": frozenset({99})}
    assert read_parts({"B": path}, None, Labels(labels), HYPO).volumes_mm3() == {"L": 32, "R": 16, "B": 64}
    with pytest.raises(ScanReadError, match="one of those told"):
        read_parts({"B": path}, None, LEFT_RIGHT, HYPO)
    with pytest.raises(ScanReadError, match=r"11, 12, 21, 99.*L=801"):
        read_parts({"B": path}, None, None, HYPO)


def test_an_empty_prediction_is_read(tmp_path):
    parts = read_parts({"B": write_scan(tmp_path / "e.nii.gz", np.zeros((4, 4, 4)), AFFINE)}, "dseg", None, HYPO)
    assert parts.volumes_mm3() == {"L": 0, "R": 0, "B": 0}
    assert not masks_on(parts, Grid(SHAPE, AFFINE))["B"].any()


@pytest.mark.parametrize(
    ("data", "kind", "labels", "message"),
    [
        (np.full((4, 4, 4), 3.5), "probseg", None, "from 0 to 1"),
        (np.random.default_rng(0).random((4, 4, 4, 5)), "probseg", None, "5 frames"),
        (np.random.default_rng(0).random((4, 4, 4, 2)), "probseg", {"L": {1}, "R": {3}}, "no frame 3"),
    ],
)
def test_values_that_cannot_be_are_refused(data, kind, labels, message, tmp_path):
    path = write_scan(tmp_path / "x.nii.gz", data, AFFINE, np.float32)
    with pytest.raises(ScanReadError, match=message):
        read_parts({"B": path}, kind, labels and Labels(labels), HYPO)


def test_unreadable_files_are_named(tmp_path):
    (tmp_path / "x.nii.gz").write_bytes(b"no image")
    for name in ("x.nii.gz", "absent.nii"):
        with pytest.raises(ScanReadError, match=name):
            read_parts({"B": tmp_path / name}, "dseg", None, HYPO)

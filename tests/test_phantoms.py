"""The phantoms that other tests stand on."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.phantoms import (
    PHANTOM_ICV_MM3,
    affine_for,
    bids_errors,
    make_bids_dataset,
    phantom_head,
    phantom_sphere,
    scan_name,
    world_mm,
    write_scan,
)


@pytest.mark.parametrize("orientation", ["RAS", "LAS", "LPS", "PSR", "ILA", "SRP"])
@pytest.mark.parametrize("rotation_deg", [0.0, 17.0])
def test_affine_has_the_asked_orientation_sizes_and_centre(orientation: str, rotation_deg: float) -> None:
    affine = affine_for(orientation, (1.0, 2.0, 3.0), (40, 50, 60), rotation_deg)
    assert "".join(nib.aff2axcodes(affine)) == orientation
    np.testing.assert_allclose(nib.affines.voxel_sizes(affine), (1, 2, 3))
    np.testing.assert_allclose(affine @ [19.5, 24.5, 29.5, 1], [0, 0, 0, 1], atol=1e-9)
    assert (np.degrees(nib.affines.obliquity(affine)).max() > 5) == (rotation_deg > 0)


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PSR"])
@pytest.mark.parametrize("rotation_deg", [0.0, 15.0])
def test_head_is_the_same_in_the_world_on_every_grid(orientation: str, rotation_deg: float) -> None:
    shape = tuple({"R": 56, "A": 70, "S": 66}[{"L": "R", "P": "A", "I": "S"}.get(c, c)] for c in orientation)
    head = phantom_head(shape, affine_for(orientation, (3, 3, 3), shape, rotation_deg), noise_sd=0)
    points = world_mm(shape, head.affine)
    ventricles = (head.data == 20) & ((np.abs(points) / (30, 40, 30)).max(axis=-1) < 1)
    left, right = ventricles & (points[..., 0] < 0), ventricles & (points[..., 0] > 0)
    assert left.sum() > 1.5 * right.sum() > 0
    inside_skull = (np.linalg.norm(points / (66, 85, 78), axis=-1) <= 1).sum() * 27
    assert inside_skull == pytest.approx(PHANTOM_ICV_MM3, rel=0.01)


def test_tissues_have_t1w_order_and_noise_is_seeded() -> None:
    head = phantom_head(noise_sd=0)
    assert set(np.unique(head.data)) == {0, 8, 20, 65, 95, 110}
    assert np.array_equal(phantom_head(seed=1).data, phantom_head(seed=1).data)
    assert not np.array_equal(phantom_head(seed=1).data, phantom_head(seed=2).data)


def test_sphere_is_one_even_ball() -> None:
    sphere = phantom_sphere(radius_mm=40.0)
    assert set(np.unique(sphere.data)) == {0, 100}
    assert (sphere.data > 0).sum() * 27 == pytest.approx(4 / 3 * np.pi * 40**3, rel=0.02)


@pytest.mark.parametrize(("dtype", "suffix"), [(np.uint8, ".nii"), (np.int16, ".nii.gz"), (np.float32, ".nii.gz")])
def test_written_scan_reads_back(tmp_path: Path, dtype: type, suffix: str) -> None:
    head = phantom_head((20, 24, 22), affine_for("LPS", (8, 8, 8), (20, 24, 22), 10))
    image = nib.load(write_scan(tmp_path / "a" / f"x{suffix}", head.data, head.affine, dtype))
    assert image.get_data_dtype() == dtype
    np.testing.assert_allclose(image.affine, head.affine, atol=1e-4)
    np.testing.assert_allclose(image.get_fdata(), head.data, atol=0.51)


def test_scan_without_affine_and_with_slope(tmp_path: Path) -> None:
    bare = nib.load(write_scan(tmp_path / "bare.nii", np.ones((16, 16, 16)), np.eye(4), sform_code=0, qform_code=0))
    assert int(bare.header["sform_code"]) == int(bare.header["qform_code"]) == 0
    sloped = nib.load(write_scan(tmp_path / "s.nii", np.full((16, 16, 16), 4), np.eye(4), np.uint8, scale=0.5))
    assert float(np.asarray(sloped.dataobj).max()) == 2.0


def test_scan_names() -> None:
    assert scan_name({"sub": "01"}) == "sub-01/anat/sub-01_T1w.nii.gz"
    scan = {"sub": "01", "ses": "a", "run": 2, "acq": "hi", "extension": ".nii"}
    assert scan_name(scan) == "sub-01/ses-a/anat/sub-01_ses-a_acq-hi_run-2_T1w.nii"


def test_dataset_is_valid_bids(tmp_path: Path) -> None:
    scans = [{"sub": "01"}, {"sub": "02", "ses": "1", "run": 1}, {"sub": "02", "ses": "1", "run": 2}]
    paths = make_bids_dataset(tmp_path / "ds", scans)
    assert [str(p.relative_to(tmp_path / "ds")) for p in paths] == [scan_name(s) for s in scans]
    assert (tmp_path / "ds/participants.tsv").read_text() == "participant_id\nsub-01\nsub-02\n"
    assert bids_errors(tmp_path / "ds") == []


def test_validator_does_see_a_broken_dataset(tmp_path: Path) -> None:
    make_bids_dataset(tmp_path / "ds", [{"sub": "01"}])
    (tmp_path / "ds/sub-01/anat/sub-01_T1wrong.nii.gz").write_bytes(b"x")
    assert bids_errors(tmp_path / "ds") != []

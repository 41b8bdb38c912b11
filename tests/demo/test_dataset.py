"""The demo dataset: valid, deterministic, never half written, and its truth is in its images."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_hypo.cli import demo as command
from bids_hypo.demo import DemoSettings, dataset, subject_truth_masks, write_demo_dataset
from bids_hypo.demo.deform import Deformation, reference_mask, template_coordinates
from bids_hypo.demo.head import CAPSULE_CENTRE_MM, build_head
from bids_hypo.demo.scanner import scan_grid
from bids_hypo.demo.subjects import GROUPS, PLANTED_FACTOR, PROTOCOLS, draw_subjects, subject_deformations
from bids_hypo.errors import CannotCreateError, UsageError
from bids_hypo.image.grid import Grid
from tests.phantoms import bids_errors

SETTINGS = DemoSettings(n_subjects=2, seed=3)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two subjects: one ALS scan, one control with two sessions."""
    folder = tmp_path_factory.mktemp("demo") / "new" / "ds"
    assert write_demo_dataset(folder, SETTINGS)
    return folder


@pytest.fixture(scope="module")
def truth(demo: Path) -> pd.DataFrame:
    return pd.read_csv(demo / dataset.TRUTH, sep="\t")


class Scan(NamedTuple):
    """A scan of the demo and what is true about it."""

    image: nib.Nifti1Image
    masks: dict[str, np.ndarray]
    row: pd.Series
    deformation: Deformation


def checksums(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module", params=[0, 1, 2], ids=["ALS", "control-ses-01", "control-ses-02"])
def scan(request: pytest.FixtureRequest, demo: Path, truth: pd.DataFrame) -> Scan:
    """One written scan with its row of the truth and its true masks."""
    row = truth.loc[request.param]
    session = 2 if "ses-02" in row.filename else 1
    masks, grid = subject_truth_masks(SETTINGS, row.participant_id.removeprefix("sub-"), session)
    image = nib.load(demo / row.filename)
    assert image.shape == grid.shape
    np.testing.assert_allclose(image.affine, grid.affine, atol=1e-4)
    subject = next(s for s in draw_subjects(2, 3) if f"sub-{s.label}" == row.participant_id)
    return Scan(image, masks, row, subject_deformations(subject, build_head())[session - 1])


def test_validator_finds_no_error(demo: Path) -> None:
    assert bids_errors(demo) == []


def test_tables(demo: Path, truth: pd.DataFrame) -> None:
    people = pd.read_csv(demo / "participants.tsv", sep="\t")
    assert list(people.participant_id) == ["sub-01", "sub-02"]
    assert list(people.group) == ["ALS", "control"]
    assert people.age.between(18, 90).all() and set(people.sex) <= {"F", "M"}
    for table in ("participants", dataset.TRUTH.removesuffix(".tsv")):
        header = (demo / f"{table}.tsv").read_text().splitlines()[0].split("\t")
        assert list(json.loads((demo / f"{table}.json").read_text())) == header
    assert list(truth.participant_id) == ["sub-01", "sub-02", "sub-02"]
    assert sorted(truth.filename) == sorted(str(p.relative_to(demo)) for p in demo.rglob("*T1w.nii*"))
    same = ["factor_left", "factor_right", "icv_mm3", "region_left_mm3"]
    assert (truth.loc[1, same] == truth.loc[2, same]).all()


def test_masks_on_the_written_grid_have_the_true_volumes(scan: Scan) -> None:
    voxel_mm3 = float(abs(np.linalg.det(scan.image.affine[:3, :3])))
    assert scan.masks["ICV"].sum() * voxel_mm3 == pytest.approx(scan.row.icv_mm3, rel=0.003)
    # About 250 voxels with a ragged border: chance is part of these two, the next test has none of it.
    assert scan.masks["L"].sum() * voxel_mm3 == pytest.approx(scan.row.region_left_mm3, rel=0.05)
    assert scan.masks["R"].sum() * voxel_mm3 == pytest.approx(scan.row.region_right_mm3, rel=0.05)


@pytest.mark.parametrize("side", ["left", "right"])
def test_planted_factor_is_found_by_integrating_over_the_written_grid(scan: Scan, side: str) -> None:
    mask, fine = scan.masks[side[0].upper()], 4
    first, last = np.argwhere(mask).min(axis=0) - 2, np.argwhere(mask).max(axis=0) + 3
    affine = scan.image.affine.copy()  # each voxel in 4 x 4 x 4 parts
    affine[:3, 3] += affine[:3, :3] @ (first - 0.5 + 0.5 / fine)
    affine[:3, :3] /= fine
    grid = Grid(tuple((last - first) * fine), affine)
    inside = reference_mask(template_coordinates(scan.deformation, grid), side[0].upper())
    volume_mm3 = inside.sum() * grid.voxel_volume_mm3
    assert volume_mm3 == pytest.approx(scan.row[f"region_{side}_mm3"], rel=0.01)
    template_mm3 = 4 / 3 * np.pi * 2.8 * 6.2 * 5.2
    factor = volume_mm3 / template_mm3 / (scan.row.icv_mm3 / build_head().icv_mm3)
    assert factor == pytest.approx(scan.row[f"factor_{side}"], rel=0.01)


def test_left_is_left_and_the_capsule_is_right(scan: Scan) -> None:
    data, affine = scan.image.get_fdata(), scan.image.affine
    centres = {s: nib.affines.apply_affine(affine, np.argwhere(scan.masks[s])).mean(axis=0) for s in "LR"}
    assert centres["L"][0] < centres["R"][0] - 5
    around = []
    for sign in (1, -1):
        x, y, z = CAPSULE_CENTRE_MM
        voxel = np.linalg.inv(affine) @ scan.deformation.position @ [sign * (x + 3), y, z, 1]
        i, j, k = np.round(voxel[:3]).astype(int)
        around.append(data[i - 2 : i + 3, j - 2 : j + 3, k - 2 : k + 3].mean())
    assert around[0] > 2 * around[1]


def test_image_looks_like_t1w(scan: Scan) -> None:
    data, masks = scan.image.get_fdata(), scan.masks
    inside = data[masks["ICV"]]
    white, csf, air = np.percentile(inside, 90), np.percentile(inside, 2), np.median(data)
    assert white > 3 * csf > 3 * air
    assert np.median(data[masks["L"]]) > 2.5 * csf
    assert np.percentile(data[~masks["ICV"]], 99) > white  # fat
    assert masks["ICV"][masks["L"] | masks["R"]].all()


def test_same_settings_give_the_same_bytes_and_other_seeds_do_not(demo: Path, tmp_path: Path) -> None:
    one = DemoSettings(n_subjects=1, seed=4)
    write_demo_dataset(tmp_path / "a", one)
    write_demo_dataset(tmp_path / "b", one)
    assert checksums(tmp_path / "a") == checksums(tmp_path / "b")
    scan = "sub-01/anat/sub-01_T1w.nii.gz"
    assert checksums(tmp_path / "a")[scan] != checksums(demo)[scan]


def test_complete_dataset_is_kept_and_derivatives_in_it_do_not_matter(demo: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in demo.rglob("*")}
    (demo / "derivatives").mkdir()
    try:
        assert write_demo_dataset(demo, SETTINGS) is False
    finally:
        (demo / "derivatives").rmdir()
    assert {p: p.stat().st_mtime_ns for p in before if p.is_file()} == {p: t for p, t in before.items() if p.is_file()}


def test_other_settings_damage_and_foreign_files_are_refused(demo: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotCreateError, match="other settings"):
        write_demo_dataset(demo, DemoSettings(n_subjects=2, seed=9))
    sidecar = demo / "sub-01/anat/sub-01_T1w.json"
    kept = sidecar.read_bytes()
    sidecar.unlink()
    try:
        with pytest.raises(CannotCreateError, match="changed"):
            write_demo_dataset(demo, SETTINGS)
    finally:
        sidecar.write_bytes(kept)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(CannotCreateError, match="other files"):
        write_demo_dataset(tmp_path, SETTINGS)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(CannotCreateError, match="is a file"):
        write_demo_dataset(tmp_path / "thesis.txt", SETTINGS)


def test_failure_on_the_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def disk_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dataset, "_write_subject", disk_full)
    with pytest.raises(CannotCreateError, match="No space left"):
        write_demo_dataset(tmp_path / "ds", SETTINGS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("n_subjects", [8, 20])
def test_groups_differ_as_planted_and_in_nothing_else(n_subjects: int) -> None:
    subjects = draw_subjects(n_subjects, seed=0)
    for group, (mean, sd) in PLANTED_FACTOR.items():
        members = [s for s in subjects if s.group == group]
        factors = [(s.planted_factor["L"] + s.planted_factor["R"]) / 2 for s in members]
        assert len(members) == n_subjects // 2
        assert np.mean(factors) == pytest.approx(mean) and np.std(factors, ddof=1) == pytest.approx(sd)
        assert all(1.29e6 < s.icv_mm3 < 1.71e6 and 1 <= s.warp_amplitude_mm <= 3 for s in members)
    icv = {g: np.mean([s.icv_mm3 for s in subjects if s.group == g]) for g in GROUPS}
    assert icv["ALS"] == pytest.approx(icv["control"], rel=0.02)


def test_protocols_cover_what_scanners_write() -> None:
    scans = [p for session in PROTOCOLS for p in session]
    assert {"RAS", "LAS", "LPS", "PSR"} <= {p.orientation for p in scans}
    assert {p.dtype for p in scans} == {"uint8", "int16", "float32"}
    assert {p.extension for p in scans} == {".nii", ".nii.gz"}
    for protocol in scans:
        grid = scan_grid(protocol, np.zeros(3))
        assert "".join(nib.aff2axcodes(grid.affine)) == protocol.orientation
        tilt = np.degrees(nib.affines.obliquity(grid.affine)).max()
        assert (tilt > 5) == (protocol.tilt_deg > 0)
        np.testing.assert_allclose(grid.voxel_sizes_mm, protocol.voxel_mm)


@pytest.mark.parametrize("settings", [{"n_subjects": 0}, {"n_subjects": 100}, {"seed": -1}])
def test_impossible_settings_are_usage_errors(settings: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        DemoSettings(**settings)


def test_command_line(demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(demo), "--subjects", "2", "--seed", "3"]) == 0
    assert "kept" in capsys.readouterr().out
    assert command.main([str(demo), "--subjects", "3"]) == 73
    assert "other settings" in capsys.readouterr().err
    assert command.main([str(tmp_path / "x"), "--subjects", "0"]) == 64
    assert command.main(["--nonsense"]) == 64
    assert command.main(["--version"]) == 0

"""Participant level as a user runs it, on the demo dataset with the shipped models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_hypo.bids import find_scans, output_names
from bids_hypo.bids.query import Selection
from bids_hypo.cli.main import main
from bids_hypo.demo import DemoSettings, subject_truth_masks
from bids_hypo.measure.overlap import dice
from bids_hypo.train.recipe import load_recipe
from tests.finished import paths_of
from tests.phantoms import bids_errors, phantom_sphere, write_scan

pytestmark = pytest.mark.slow

HYPO = load_recipe("hypothalamus").structure
assert HYPO is not None


def _numbers(side: str) -> list[int]:
    """Of the parts of a side that count in the whole."""
    return [part.index for part in HYPO.of(side, in_whole=True)]


def _all_names(demo: Path, out: Path):
    scans, missing = find_scans(demo, Selection())
    assert not missing
    return [output_names(scan, out) for scan in scans]


def _times(out: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and "anat" in p.parts}


def test_every_file_is_there_and_valid(demo, segmented):
    names = _all_names(demo, segmented)
    assert len(names) == 3
    for n in names:
        assert all(f.is_file() and f.stat().st_size for f in n.files)
        assert n.figure("overview", ".png", "hypothalamus").is_file()
    assert bids_errors(segmented) == []


def test_images_lie_on_the_scans_own_grid(demo, segmented):
    for n in _all_names(demo, segmented):
        scan = nib.load(n.scan.path)
        for path in n.images:
            image = nib.load(path)
            assert image.shape[:3] == scan.shape
            np.testing.assert_allclose(image.affine, scan.affine, atol=1e-5)
            assert int(image.header["sform_code"]) > 0


def test_volumes_can_be_computed_again_from_the_images(demo, segmented):
    for n in _all_names(demo, segmented):
        table = pd.read_csv(n.morph, sep="\t", na_values="n/a").set_index(["structure", "part", "hemisphere"])
        dseg, probseg = nib.load(paths_of(n).dseg), nib.load(paths_of(n).probseg)
        voxel = abs(np.linalg.det(dseg.affine[:3, :3]))
        labels = np.asarray(dseg.dataobj)
        for frame, part in enumerate(HYPO.parts):
            volume = table.loc[("hypothalamus", part.kind, part.hemisphere), "volume_mm3"]
            assert (labels == part.index).sum() * voxel == pytest.approx(volume, rel=1e-3)
            expected = np.asarray(probseg.dataobj)[..., frame].sum() * voxel
            assert expected == pytest.approx(volume, abs=voxel)
        mask = np.asarray(nib.load(paths_of(n).mask).dataobj)
        np.testing.assert_array_equal(mask > 0, np.isin(labels, _numbers("L") + _numbers("R")))
        whole = table.loc[("hypothalamus", "whole", "B"), "volume_mm3"]
        assert (mask > 0).sum() * voxel == pytest.approx(whole, rel=1e-3)
        icv = (np.asarray(nib.load(n.icv_mask).dataobj) > 0).sum() * voxel
        assert icv == pytest.approx(table.loc[("ICV", "whole", "B"), "volume_mm3"], rel=1e-3)


def test_the_hypothalamus_is_where_the_demo_put_it_and_left_is_left(demo, segmented):
    for n in _all_names(demo, segmented):
        session = int(n.scan.session or 1)
        truth, _ = subject_truth_masks(DemoSettings(n_subjects=2), n.scan.subject, session)
        labels, image = np.asarray(nib.load(paths_of(n).dseg).dataobj), nib.load(n.scan.path)
        centres = {side: _centre(np.isin(labels, _numbers(side)), image.affine) for side in "LR"}
        for side, centre in centres.items():
            assert np.linalg.norm(centre - _centre(truth[side], image.affine)) < 4.0
        assert centres["L"][0] < centres["R"][0] - 4
        assert dice(np.asarray(nib.load(n.icv_mask).dataobj), truth["ICV"]) > 0.95


def _centre(mask, affine):
    return nib.affines.apply_affine(affine, np.argwhere(mask).mean(0))


def test_sidecars_say_what_made_the_files(demo, segmented):
    for n in _all_names(demo, segmented):
        for path in n.images:
            content = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
            assert content["Sources"] == [f"bids:raw:{n.scan.path.relative_to(demo).as_posix()}"]
            assert content.get("Type", "ROI") == "ROI"
            assert ("Type" in content) == path.name.endswith("_mask.nii.gz")
            assert content["Device"] == "cpu"
            makers = {"anatomy"} if path == n.icv_mask else {"anatomy", "hypothalamus"}  # what it depends on
            assert set(content["Models"]) == makers
            assert all(len(model["WeightsSHA256"]) == 64 for model in content["Models"].values())
            assert {"read", "anatomy", "delineate"} <= set(content["Seconds"])


def test_a_second_run_does_nothing_and_a_damaged_scan_is_done_again(demo, segmented, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(segmented, out)
    before = _times(out)
    assert main([str(demo), str(out), "participant", "--device", "cpu"]) == 0
    assert _times(out) == before
    assert "3 kept" in capsys.readouterr().out
    victim = _all_names(demo, out)[0]
    paths_of(victim).dseg.unlink()
    original = (segmented / paths_of(victim).dseg.relative_to(out)).read_bytes()
    assert main([str(demo), str(out), "participant", "--device", "cpu"]) == 0
    after = _times(out)
    changed = {p for p in after if before.get(p) != after[p]}
    assert changed
    assert all(Path(p).name.startswith(f"sub-{victim.scan.subject}_") for p in changed)
    assert paths_of(victim).dseg.read_bytes() == original  # two runs of the same input give the same bytes


def test_other_settings_are_not_complete(demo, segmented, capsys):
    assert main([str(demo), str(segmented), "participant", "--fast", "--dry-run"]) == 0
    assert "3 to do" in capsys.readouterr().out


def test_complete_results_are_taken_over_from_derivatives(demo, segmented, tmp_path, capsys):
    out = tmp_path / "new"
    assert main([str(demo), str(out), "participant", "--derivatives", str(segmented), "--device", "cpu"]) == 0
    assert "3 kept" in capsys.readouterr().out
    for n in _all_names(demo, out):
        assert paths_of(n).dseg.read_bytes() == (segmented / paths_of(n).dseg.relative_to(out)).read_bytes()


def test_dry_run_writes_nothing(demo, tmp_path, capsys):
    assert main([str(demo), str(tmp_path / "out"), "participant", "--dry-run"]) == 0
    assert "3 to do" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_reports_are_drawn_again_without_a_network(demo, segmented, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(segmented, out)
    figures = [n.figure("overview", ".png", "hypothalamus") for n in _all_names(demo, out)]
    for figure in figures:
        figure.unlink()
    before = _times(out)
    assert main([str(demo), str(out), "participant", "--reports-only"]) == 0
    assert all(f.stat().st_size > 10_000 for f in figures)
    assert {p: t for p, t in _times(out).items() if "/anat/" in p} == before


def test_bad_scans_are_recorded_and_the_others_go_on(demo, tmp_path, capsys):
    """One good scan among broken ones: it is done, each other has its own crash file, nothing half stays."""
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(demo / "dataset_description.json", data)
    good = sorted((demo / "sub-01").rglob("*_T1w.nii*"))[0]
    affine = np.eye(4)
    rng = np.random.default_rng(0)

    def place(sub: str, name: str | None = None) -> Path:
        path = data / f"sub-{sub}" / "anat" / (name or f"sub-{sub}_T1w.nii.gz")
        path.parent.mkdir(parents=True)
        return path

    shutil.copy(good, place("good", f"sub-good_T1w{''.join(good.suffixes)}"))
    place("empty").write_bytes(b"")
    place("truncated").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    nib.save(nib.Nifti1Image(rng.normal(size=(20, 20, 20, 4)).astype(np.float32), affine), place("series"))
    write_scan(place("zero"), np.zeros((40, 40, 40)), affine)
    sphere = phantom_sphere()
    write_scan(place("sphere"), sphere.data, sphere.affine)
    write_scan(place("noise"), rng.uniform(0, 100, (90, 90, 90)), np.diag([2.0, 2, 2, 1]))
    place("none", "sub-none_T2w.nii.gz").write_bytes(b"")
    odd_json = place("json", f"sub-json_T1w{''.join(good.suffixes)}")
    shutil.copy(good, odd_json)  # nobody needs what it says
    (odd_json.parent / "sub-json_T1w.json").write_text("{not json")
    out = tmp_path / "out"
    assert main([str(data), str(out), "participant", "--device", "cpu"]) == 1
    text = capsys.readouterr().out
    assert "2 done" in text
    assert "7 failed" in text
    crashes = {p.name: p.read_text() for p in (out / "logs").glob("crash-*.txt")}
    assert len(crashes) == 7
    expected = {"empty": "0 bytes", "truncated": "", "series": "4 dimensions", "zero": "every voxel", "sphere": "",
                "noise": "", "none": "T1w"}  # fmt: skip
    for sub, words in expected.items():
        content = next(t for n, t in crashes.items() if f"sub-{sub}" in n)
        assert f"sub-{sub}" in content
        assert words in content
        assert "Traceback" not in content
        assert not list(out.glob(f"sub-{sub}/**/*.nii.gz"))
    assert not list(out.rglob("*.part"))
    assert all(len(list(out.glob(f"sub-{sub}/anat/*_dseg.nii.gz"))) == 1 for sub in ("good", "json"))

"""Ensembles of the images of a session: averaged, kept while nothing changes, made again or taken away with them."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_hypo.bids import sidecar
from bids_hypo.bids.ensembles import ensemble_names
from bids_hypo.execute.reporting import finish_reports
from bids_hypo.models.catalog import find_models
from bids_hypo.workflow.edited import take_edited
from bids_hypo.workflow.options import RunOptions
from bids_hypo.workflow.result import ScanResult, Status
from tests.finished import finished_dataset, paths_of
from tests.phantoms import affine_for, bids_errors, phantom_head

SHAPE = (60, 72, 66)
OTHER = phantom_head(SHAPE, affine_for("LPS", (2.9, 2.9, 2.9), SHAPE))
SCANS = [{"sub": "01"}, {"sub": "01", "suffix": "FLAIR"}, {"sub": "02"},
         {"sub": "02", "suffix": "FLAIR", "image": OTHER}, {"sub": "03"}]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two sessions with a T1w and a FLAIR, the first on one grid, and one with a T1w alone; a run, with its names."""
    folder = tmp_path_factory.mktemp("ensemble")
    raw, out, names = finished_dataset(
        folder, SCANS, structures=("trident",), suffixes=("T1w", "FLAIR"), flags={"02": ("pose_uncertain",)}
    )

    def run():
        results = [ScanResult(one.scan.name, Status.KEPT) for one in names]
        finish_reports(results, [one.scan for one in names], RunOptions(raw, out, no_reports=True), find_models())

    run()
    return out, {one.scan.name: one for one in names}, run


def _table(path):
    table = pd.read_csv(path, sep="\t", na_values="n/a")
    return table[table["structure"] == "trident"].set_index(["part", "hemisphere"])


def _state(out):
    return {path.name: path.stat().st_mtime_ns for path in out.rglob("*desc-ensemble*")}


def test_images_on_one_grid_are_averaged_and_others_by_their_volumes(made):
    out, names, _ = made
    assert sorted(_state(out)) == [
        "sub-01_desc-ensemble_morph.json", "sub-01_desc-ensemble_morph.tsv",
        "sub-01_space-orig_label-trident_desc-ensemble_mask.json",
        "sub-01_space-orig_label-trident_desc-ensemble_mask.nii.gz",
        "sub-01_space-orig_seg-trident_desc-ensemble_dseg.json",
        "sub-01_space-orig_seg-trident_desc-ensemble_dseg.nii.gz",
        "sub-02_desc-ensemble_morph.json", "sub-02_desc-ensemble_morph.tsv"]  # fmt: skip
    place = ensemble_names(names["sub-02_T1w"].anat_dir, out)
    table, t1, flair = (_table(path) for path in (place.table, *(names[f"sub-02_{k}"].morph for k in ("T1w", "FLAIR"))))
    whole, pair = table.loc[("whole", "B")], [one.loc[("whole", "B"), "volume_mm3"] for one in (t1, flair)]
    assert pair[0] != pair[1]
    assert whole["volume_mm3"] == pytest.approx(np.mean(pair), abs=1e-3)
    assert whole["volume_sd_mm3"] == pytest.approx(np.std(pair, ddof=1), abs=1e-3)
    assert whole["flags"] == "images_disagree;pose_uncertain" and "ICV" not in place.table.read_text()
    record = json.loads(sidecar(place.table).read_text())
    assert record["Structures"]["trident"]["Method"] == "mean of the volumes"
    assert record["Sources"][:2] == [
        "bids:raw:sub-02/anat/sub-02_T1w.nii.gz",
        "bids:raw:sub-02/anat/sub-02_FLAIR.nii.gz",
    ]
    assert bids_errors(out) == []


def test_it_is_kept_made_again_with_a_correction_and_taken_away_with_an_image(made):
    out, names, run = made
    flair = names["sub-01_FLAIR"]
    before = _state(out)
    run()
    assert _state(out) == before
    dseg = nib.load(paths_of(flair, "trident").dseg)
    labels = np.asarray(dseg.dataobj).copy()
    voxel_mm3 = abs(np.linalg.det(dseg.affine))
    automatic = (labels > 0).sum() * voxel_mm3
    labels[1:11, 1:9, 1] = 31  # 80 voxels more on the left
    nib.save(nib.Nifti1Image(labels, dseg.affine), paths_of(flair, "trident").edited)
    assert take_edited(flair)
    run()
    place = ensemble_names(flair.anat_dir, out)
    table = _table(place.table)
    shaft = table.loc[("shaft", "M"), "volume_mm3"]
    assert table.loc[("whole", "B"), "volume_mm3"] == pytest.approx(automatic - shaft + 40 * voxel_mm3, abs=voxel_mm3)
    image = nib.load(place.images_of(paths_of(names["sub-01_T1w"], "trident"))[0])
    counts = np.bincount(np.asarray(image.dataobj).ravel(), minlength=34) * voxel_mm3
    assert table.loc[("whole", "L"), "volume_mm3"] == pytest.approx(counts[31]) and shaft == pytest.approx(counts[33])
    assert {name for name, at in _state(out).items() if before.get(name) != at} == {
        name for name in before if name.startswith("sub-01")}  # fmt: skip
    place.table.write_text(place.table.read_text().replace("whole\tB\t", "whole\tB\t9"))
    run()
    assert _table(place.table).equals(table)  # damaged, so made again
    sidecar(flair.morph).unlink()
    run()
    assert [name for name in _state(out) if name.startswith("sub-01")] == []

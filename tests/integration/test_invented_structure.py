"""A structure that no code knows goes through everything: participant level, pages, group level, evaluation."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nilearn.datasets import load_mni152_template

from bids_hypo.cli.evaluate import main as evaluate
from bids_hypo.cli.main import main
from tests.invented import make_trident
from tests.phantoms import bids_errors

pytestmark = pytest.mark.slow

SIZES = {"01": 1.0, "02": 1.03, "03": 0.97, "04": 0.99}
GROUPS = {"01": "ALS", "02": "ALS", "03": "CON", "04": "CON"}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Four heads of different sizes, the hypothalamus measured; and a folder with the bundle of the new structure."""
    folder = tmp_path_factory.mktemp("study")
    raw, out, models = folder / "raw", folder / "out", folder / "models"
    models.mkdir()
    make_trident(models, bonus=5.0)
    template = load_mni152_template(resolution=1)
    for subject, size in SIZES.items():
        path = raw / f"sub-{subject}" / "anat" / f"sub-{subject}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        affine = np.diag([size, size, size, 1.0]) @ template.affine
        nib.save(nib.Nifti1Image(np.float32(1000 * template.get_fdata()), affine), path)
    lines = ["participant_id\tgroup", *(f"sub-{subject}\t{group}" for subject, group in GROUPS.items())]
    (raw / "participants.tsv").write_text("\n".join(lines) + "\n")
    (raw / "dataset_description.json").write_text('{"Name": "heads", "BIDSVersion": "1.9.0"}')
    assert main([str(raw), str(out), "participant", "--device", "cpu", "--fast"]) == 0
    return raw, out, models


def _volumes(path: Path) -> pd.Series:
    return pd.read_csv(path, sep="\t", na_values="n/a").set_index(["structure", "part", "hemisphere"])["volume_mm3"]


def test_it_needs_no_line_of_code(study, tmp_path):
    raw, out, models = study
    more = ["--models", str(models), "--structures", "trident", "hypothalamus", "--fast", "--device", "cpu"]
    before = {path: path.read_bytes() for path in out.glob("sub-*/anat/*hypothalamus*")}
    assert main([str(raw), str(out), "participant", *more]) == 0
    assert {path: path.read_bytes() for path in before} == before  # adding one never measures the others again
    assert pd.read_csv(out / "dseg.tsv", sep="\t")["index"].tolist() == [*range(11, 17), *range(21, 27), 31, 32, 33]
    assert bids_errors(out) == []

    volumes = _volumes(out / "sub-01" / "anat" / "sub-01_desc-volumetric_morph.tsv")
    assert {"hypothalamus", "trident", "ICV"} == set(volumes.index.get_level_values("structure"))
    image = nib.load(out / "sub-01" / "anat" / "sub-01_space-orig_seg-trident_dseg.nii.gz")
    counts = np.bincount(np.asarray(image.dataobj).ravel(), minlength=34)
    found = volumes["trident"]
    assert found["shaft", "M"] == counts[33] > 0 and found["prong", "L"] == counts[31] > 0
    assert found["whole", "B"] == counts[31] + counts[32]  # the shaft does not count
    mask = nib.load(out / "sub-01" / "anat" / "sub-01_space-orig_label-trident_mask.nii.gz")
    assert np.asarray(mask.dataobj).sum() == found["whole", "B"]

    page, index = (out / "sub-01.html").read_text(), (out / "index.html").read_text()
    assert "Trident of Poseidon: volumes" in page and "Prong, left" in page and "Shaft, midline" in page
    assert "Hypothalamus: volumes" in page and page.count('class="meshes"') == 2
    assert "trident of Poseidon, mm³" in index
    methods = (out / "logs" / "CITATION.md").read_text()
    assert "outlined an invented structure (Vernikouskaya et al. 2023)." in methods

    assert main([str(raw), str(out), "group", "--parts", "--covariates"]) == 0
    table = pd.read_csv(out / "group_volumes.tsv", sep="\t")
    series = table.drop_duplicates(["structure", "part"])[["structure", "part"]].to_numpy().tolist()
    ours = [part for structure, part in series if structure == "hypothalamus"]
    assert ours[0] == "whole" and len(ours) == 8  # six parts, and a sum
    assert [part for structure, part in series if structure == "trident"] == ["whole", "prong", "shaft"]
    statistics = pd.read_csv(out / "group_statistics.tsv", sep="\t")
    assert set(statistics["structure"]) == {"hypothalamus", "trident"}
    report = (out / "group_report.html").read_text()
    assert "Trident of Poseidon (shaft)" in report and report.count('<h2 class="series"') == 11

    arguments = [str(out), str(tmp_path / "evaluation"), "--prediction", f"same={out}", "--structure", "trident"]
    assert evaluate([*arguments, "--models", str(models)]) == 0
    scans = pd.read_csv(tmp_path / "evaluation" / "evaluation_scans.tsv", sep="\t")
    assert set(scans["structure"]) == {"trident"} and {"whole", "prong", "shaft"} <= set(scans["part"])
    assert (scans["dice"] == 1).all()


def test_nothing_is_left_to_do_and_what_is_not_asked_for_stays(study):
    raw, out, models = study
    before = {path: path.stat().st_mtime_ns for path in out.glob("sub-*/anat/*")}
    more = ["--models", str(models), "--structures", "hypothalamus", "trident", "--fast", "--device", "cpu"]
    assert main([str(raw), str(out), "participant", *more]) == 0
    assert main([str(raw), str(out), "participant", "--fast", "--device", "cpu"]) == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("sub-*/anat/*")} == before

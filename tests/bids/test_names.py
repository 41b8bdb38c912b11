"""Names of the derivatives, and what the BIDS validator says to them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_hypo.bids import (
    MORPH_COLUMNS,
    MissingScan,
    Provenance,
    Selection,
    bids_uri,
    crash_file,
    dseg_sidecar,
    find_scans,
    icv_mask_sidecar,
    mask_sidecar,
    morph_sidecar,
    output_names,
    prepare_output,
    probseg_sidecar,
    sidecar,
    write_crash,
    write_json,
    write_tsv,
)
from bids_hypo.bids.checksums import checksums
from bids_hypo.bids.written import scan_of_table
from bids_hypo.image.volume import write_nifti
from tests.finished import structure_named

RICH = "sub-01_ses-1_task-rest_acq-a_ce-gad_rec-norm_run-01_echo-1_part-mag_chunk-2_T1w.nii.gz"


def test_names_keep_every_entity_in_order(make_scan, tmp_path: Path) -> None:
    names = output_names(make_scan(tmp_path / "raw", RICH), tmp_path / "out")
    start = "sub-01_ses-1_task-rest_acq-a_ce-gad_rec-norm_run-01_echo-1_part-mag"
    assert [path.name for path in names.files] == [
        f"{start}_space-orig_chunk-2_seg-hypothalamus_dseg.nii.gz",
        f"{start}_space-orig_chunk-2_label-hypothalamus_mask.nii.gz",
        f"{start}_space-orig_chunk-2_label-hypothalamus_probseg.nii.gz",
        f"{start}_space-orig_chunk-2_label-ICV_mask.nii.gz",
        f"{start}_space-orig_chunk-2_seg-hypothalamus_dseg.json",
        f"{start}_space-orig_chunk-2_label-hypothalamus_mask.json",
        f"{start}_space-orig_chunk-2_label-hypothalamus_probseg.json",
        f"{start}_space-orig_chunk-2_label-ICV_mask.json",
        f"{start}_chunk-2_desc-volumetric_morph.tsv",
        f"{start}_chunk-2_desc-volumetric_morph.json",
    ]
    assert {path.parent for path in names.files} == {tmp_path / "out" / "sub-01" / "ses-1" / "anat"}
    assert names.figures_dir == tmp_path / "out" / "sub-01" / "ses-1" / "figures"
    assert names.figure("overlay").name == f"{start}_chunk-2_desc-overlay_T1w.svg"
    assert names.report == tmp_path / "out" / "sub-01_ses-1.html"
    assert names.crash == tmp_path / "out" / "logs" / f"crash-{start}_chunk-2_T1w.txt"


def test_names_without_session(make_scan, tmp_path: Path) -> None:
    scan = make_scan(tmp_path / "raw", "sub-01_T1w.nii")
    names = output_names(scan, tmp_path / "out")
    assert names.icv_mask == tmp_path / "out" / "sub-01" / "anat" / "sub-01_space-orig_label-ICV_mask.nii.gz"
    assert names.report == tmp_path / "out" / "sub-01.html"
    assert bids_uri(scan) == "bids:raw:sub-01/anat/sub-01_T1w.nii"
    assert crash_file(tmp_path, MissingScan("05", "")) == tmp_path / "logs" / "crash-sub-05.txt"


def test_no_two_scans_share_an_output(make_dataset, tmp_path: Path) -> None:
    files = [
        "sub-01_T1w.nii.gz", "sub-01_run-1_T1w.nii.gz", "sub-01_run-01_T1w.nii.gz", "sub-01_acq-a_T1w.nii.gz",
        "sub-01_rec-a_T1w.nii", "sub-01_ce-a_T1w.nii", "sub-01_ses-1_T1w.nii", "sub-01_ses-1_run-1_T1w.nii",
        "sub-01_UNIT1.nii.gz", "sub-01_acq-a_UNIT1.nii.gz",
    ]  # fmt: skip
    scans, _ = find_scans(make_dataset(files), Selection())
    named = [output_names(scan, tmp_path) for scan in scans]
    every = [
        path
        for n in named
        for path in (*n.files, n.structures["hypothalamus"].edited, n.edited_icv_mask, n.crash, n.figure("x"))
    ]
    assert len(scans) == len(files) and len(set(every)) == len(every)
    raw = {scan.path.name for scan in scans}
    assert not raw & {path.name for path in every}


def test_the_kind_of_image_is_in_the_name_and_can_be_read_from_it(make_scan, tmp_path: Path) -> None:
    names = output_names(make_scan(tmp_path / "raw", "sub-01_acq-a_run-1_UNIT1.nii.gz"), tmp_path / "out")
    assert names.structures["hypothalamus"].dseg.name == "sub-01_acq-a_run-1_space-UNIT1_seg-hypothalamus_dseg.nii.gz"
    assert names.morph.name == "sub-01_acq-a_run-1_space-UNIT1_desc-volumetric_morph.tsv"
    assert (
        names.structures["hypothalamus"].edited.name
        == "sub-01_acq-a_run-1_space-UNIT1_seg-hypothalamus_desc-edited_dseg.nii.gz"
    )
    plain = output_names(make_scan(tmp_path / "raw", "sub-01_acq-a_run-1_T1w.nii.gz"), tmp_path / "out")
    for written in (names, plain):
        source = scan_of_table(written.morph, tmp_path / "out")
        assert (source.name, source.entities) == (written.scan.name, written.scan.entities)


@pytest.mark.parametrize(
    ("file", "table"),
    [("sub-01_FLAIR.nii.gz", "sub-01_space-FLAIR_desc-volumetric_morph.tsv"),
     ("sub-01_ses-1_space-T1w_desc-bet_Chimap.nii.gz", "sub-01_ses-1_space-T1w+Chimap_desc-bet+volumetric_morph.tsv"),
     ("sub-01_desc-preproc_T1w.nii.gz", "sub-01_desc-preproc+volumetric_morph.tsv"),
     ("sub-01_space-orig_T1w.nii.gz", "sub-01_space-orig+T1w_desc-volumetric_morph.tsv")],
)  # fmt: skip
def test_maps_keep_their_space_and_desc_and_are_read_from_the_name(
    make_scan, tmp_path: Path, file: str, table: str
) -> None:
    names = output_names(make_scan(tmp_path / "raw", file), tmp_path / "out", ("thalamus", "hypothalamus"))
    assert names.morph.name == table
    source = scan_of_table(names.morph, tmp_path / "out")
    assert (source.name, source.entities, source.suffix) == (names.scan.name, names.scan.entities, names.scan.suffix)
    every = [*names.files, *names.edited, names.figure("coronal"), names.figure("coronal", structure="thalamus")]
    assert len({path.name for path in every}) == len(every)
    assert names.items == ("thalamus", "hypothalamus", *(("ICV",) if names.scan.is_t1 else ()))


def _provenance() -> Provenance:
    model = {"Name": "a", "Version": "1", "WeightsSHA256": "ab" * 32}
    return Provenance("0.1", "cpu", ("batch halved",), {"read": 0.5}, {"anatomy": model, "hypothalamus": model})


def write_derivatives(scan, output: Path) -> None:
    """Write all that a finished scan has."""
    names, provenance = output_names(scan, output), _provenance()
    hypothalamus = structure_named("hypothalamus")
    makers = [partial(m, structure=hypothalamus) for m in (dseg_sidecar, mask_sidecar, probseg_sidecar)]
    for image, maker in zip(names.images, [*makers, icv_mask_sidecar], strict=True):
        is_probseg = image == names.structures["hypothalamus"].probseg
        data = np.zeros((4, 4, 4, 2), np.float32) if is_probseg else np.zeros((4, 4, 4), np.uint8)
        write_nifti(image, data, np.eye(4), like=scan.path)
        write_json(sidecar(image), maker(scan, provenance))
    rows = [["hypothalamus", "whole", side, 400.0, None, None] for side in "LRB"]
    rows += [["ICV", "whole", "B", 1.5e6, None, "skull;x"]]
    write_tsv(names.morph, pd.DataFrame(rows, columns=list(MORPH_COLUMNS)))
    write_json(sidecar(names.morph), morph_sidecar(scan, provenance, checksums(names.files[:-1])))
    names.figures_dir.mkdir(exist_ok=True)
    names.figure("overlay").write_text("<svg/>")
    names.report.write_text("<html/>")


def validate(folder: Path) -> dict[str, set[str]]:
    """Run the validator; codes by severity, each with the files it names."""
    tool = Path(sys.executable).with_name("bids-validator-deno")
    command = str(tool) if tool.exists() else shutil.which("bids-validator-deno")
    if command is None:
        pytest.skip("bids-validator-deno is not installed")
    done = subprocess.run([command, "--format", "json", str(folder)], capture_output=True, text=True, check=False)
    if not done.stdout.lstrip().startswith("{"):
        pytest.skip(f"bids-validator-deno does not run here: {done.stderr[-300:]}")
    found: dict[str, set[str]] = {"error": set(), "warning": set()}
    for issue in json.loads(done.stdout)["issues"]["issues"]:
        if issue["severity"] in found:
            found[issue["severity"]].add(f"{issue['code']}/{issue.get('subCode', '')} {issue.get('location', '')}")
    return found


def test_validator_accepts_the_output(make_dataset, tmp_path: Path) -> None:
    files = ["sub-01_T1w.nii.gz", "sub-02_ses-1_run-01_T1w.nii", "sub-02_ses-1_run-02_T1w.nii", "sub-03_T1w.nii", RICH]
    unit1 = ["sub-01_UNIT1.nii.gz", RICH.replace("sub-01", "sub-02").replace("T1w", "UNIT1")]
    root = make_dataset([*files[:3], *unit1, RICH.replace("sub-01", "sub-04"), files[3]], images=True)
    output = prepare_output(tmp_path / "out", root, command_version="0.1")
    scans, _ = find_scans(root, Selection())
    assert len(scans) == 7
    for scan in scans[:-1]:
        write_derivatives(scan, output)
    write_crash(output, scans[-1], "Traceback")
    write_tsv(output / "group_volumes.tsv", pd.DataFrame({"participant_id": ["sub-01"], "icv": [1.0]}))
    (output / "logs" / "CITATION.md").write_text("text")
    (output / "group_report.html").write_text("<html/>")
    (output / "figures").mkdir()
    (output / "figures" / "box.svg").write_text("<svg/>")
    found = validate(output)
    assert found["error"] == set()
    unexpected = {
        text for text in found["warning"] if not any(key in text for key in ("License", "Authors", "DatasetLinks"))
    }
    assert not {text for text in unexpected if "sub-" in text or "NIFTI" in text}, unexpected

    # the test can fail: a name that is not BIDS is found
    (output / "sub-01" / "anat" / "sub-01_run-1_acq-x_nonsense.nii.gz").touch()
    assert any("nonsense" in text for text in validate(output)["error"])

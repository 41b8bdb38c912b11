"""What a run keeps, what it does again, and what it says about it; taking results over from another folder."""

import os
from dataclasses import replace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_hypo.bids import find_scans, output_names, prepare_output, sidecar
from bids_hypo.bids.selection import Selection
from bids_hypo.bids.sidecars import read_record, write_json
from bids_hypo.errors import ExitCode
from bids_hypo.execute.participant import make_plan, run_participant
from bids_hypo.models.catalog import find_models
from bids_hypo.workflow.edited import read_counted, take_edited
from bids_hypo.workflow.options import RunOptions
from tests.finished import finished_dataset, paths_of


@pytest.fixture
def finished(tmp_path):
    raw, out, names = finished_dataset(tmp_path, [{"sub": "01"}, {"sub": "02"}, {"sub": "03"}])
    return RunOptions(raw, out), names


def _plan(options):
    scans, missing = find_scans(options.bids_dir, Selection())
    return make_plan(scans, missing, find_models(), options)


def _change_scan(names):
    """Other bytes, and not one more or less."""
    content = bytearray(names.scan.path.read_bytes())
    content[-1] ^= 1
    names.scan.path.write_bytes(bytes(content))


def _cut_dseg(names):
    paths_of(names).dseg.write_bytes(paths_of(names).dseg.read_bytes()[:-1])


def _edit_table(names):
    names.morph.write_text(names.morph.read_text().replace("hypothalamus\twhole\tL\t", "hypothalamus\twhole\tL\t9"))


def _damage_sidecar(names):
    path = sidecar(names.icv_mask)
    write_json(path, read_record(path) | {"Device": "gpu"})


@pytest.mark.parametrize(
    ("spoil", "kind", "of"),
    [(_change_scan, "the scan has changed", lambda n: n.scan.path),
     (_cut_dseg, "the results are damaged or were changed", lambda n: paths_of(n).dseg),
     (_edit_table, "the results are damaged or were changed", lambda n: n.morph),
     (_damage_sidecar, "the results are damaged or were changed", lambda n: sidecar(n.icv_mask))],
)  # fmt: skip
def test_a_scan_is_done_again_and_it_is_said_why(finished, caplog, spoil, kind, of):
    options, names = finished
    assert not _plan(options).todo and not caplog.records
    spoil(names[1])
    plan = _plan(options)
    assert [scan.name for scan in plan.todo] == ["sub-02_T1w"]
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told.startswith(f"sub-02_T1w is done again, {kind}: ") and of(names[1]).name in told


def test_other_settings_are_told_in_one_line(finished, caplog):
    options, _ = finished
    plan = _plan(replace(options, fast=True))
    assert len(plan.todo) == 3
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == "3 scans are done again, they were made with other settings: sub-01_T1w, sub-02_T1w, sub-03_T1w."


def test_nothing_is_told_of_scans_that_were_not_done_yet(finished, tmp_path, caplog):
    options, _ = finished
    assert len(_plan(replace(options, output_dir=tmp_path / "new")).todo) == 3
    assert len(_plan(replace(options, overwrite=True)).todo) == 3
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_figures_are_not_drawn_again_from_a_scan_that_has_changed(finished):
    options, names = finished
    _change_scan(names[1])
    code, results = run_participant(replace(options, reports_only=True))
    of = {result.name: result for result in results}
    assert code is ExitCode.SCANS_FAILED and of["sub-01_T1w"].status == "redrawn"
    assert "the scan has changed" in of["sub-02_T1w"].error and str(names[1].scan.path) in of["sub-02_T1w"].error


def test_a_touched_dataset_draws_nothing_again_and_is_read_once(finished):
    options, names = finished
    run_participant(options)
    figures = {p: p.stat().st_mtime_ns for n in names for p in n.figures_dir.iterdir()}
    for each in names:
        content = each.scan.path.read_bytes()
        each.scan.path.unlink()
        each.scan.path.write_bytes(content)
    assert run_participant(replace(options, dry_run=True))[0] is ExitCode.OK
    times = [read_record(sidecar(each.morph))["SourceTimes"] for each in names]
    _, results = run_participant(options)
    assert {result.status for result in results} == {"kept"}
    assert figures == {p: p.stat().st_mtime_ns for p in figures}
    for each, before in zip(names, times, strict=True):
        after = read_record(sidecar(each.morph))["SourceTimes"]
        assert after != before and after["ModifiedNs"] == each.scan.path.stat().st_mtime_ns


def test_results_are_taken_over_whole_with_the_corrections_that_were_counted(finished, tmp_path):
    options, names = finished
    labels = np.asarray(nib.load(paths_of(names[0]).dseg).dataobj).copy()
    labels[:, :, : np.nonzero(labels)[2].min() + 1] = 0
    nib.save(
        nib.Nifti1Image(labels, nib.load(paths_of(names[0]).dseg).affine),
        paths_of(names[0]).edited,
    )
    assert take_edited(names[0])
    _cut_dseg(names[1])
    new = replace(options, output_dir=tmp_path / "new", derivatives=(options.output_dir,))
    plan = _plan(new)
    assert [scan.name for scan in plan.kept] == ["sub-01_T1w", "sub-03_T1w"]
    only = replace(new, selection=Selection(participant_labels=frozenset({"01", "03"})))
    code, results = run_participant(only)
    assert code is ExitCode.OK and {r.status for r in results} == {"kept"} and not any(r.report_error for r in results)
    taken = output_names(names[0].scan, new.output_dir)
    assert np.array_equal(read_counted(taken)[1].labels["hypothalamus"][1], labels)
    assert taken.morph.read_bytes() == names[0].morph.read_bytes()
    assert not _plan(only).adopted


def test_a_damaged_result_is_not_taken_over_and_it_is_said_why(finished, tmp_path, caplog):
    options, names = finished
    _cut_dseg(names[1])
    prepare_output(tmp_path / "new", options.bids_dir, command_version="1")
    plan = _plan(replace(options, output_dir=tmp_path / "new", derivatives=(options.output_dir,)))
    assert [scan.name for scan in plan.todo] == ["sub-02_T1w"]
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert (
        told.startswith(f"sub-02_T1w: not taken over from {options.output_dir}: ")
        and paths_of(names[1]).dseg.name in told
    )


def test_a_correction_that_was_counted_leaves_the_set_whole(finished):
    options, names = finished
    labels = np.asarray(nib.load(paths_of(names[0]).dseg).dataobj)
    nib.save(
        nib.Nifti1Image(labels, nib.load(paths_of(names[0]).dseg).affine),
        paths_of(names[0]).edited,
    )
    assert take_edited(names[0])
    assert not _plan(options).todo
    table = pd.read_csv(names[0].morph, sep="\t")
    table["volume_mm3"] += 1
    table.to_csv(names[0].morph, sep="\t", index=False, na_rep="n/a")
    assert [scan.name for scan in _plan(options).todo] == ["sub-01_T1w"]


@pytest.mark.parametrize(
    "of",
    [lambda n: paths_of(n).dseg, lambda n: n.icv_mask, lambda n: n.morph,
     lambda n: sidecar(paths_of(n).dseg), lambda n: sidecar(n.morph),
     lambda n: paths_of(n).edited, lambda n: n.edited_icv_mask, lambda n: n.anat_dir],
    ids=["dseg", "ICV", "table", "sidecar", "closing record", "edited dseg", "edited ICV", "folder"],
)  # fmt: skip
def test_a_file_outside_is_not_taken_over_by_a_link(finished, tmp_path, caplog, of):
    options, names = finished
    path, private = of(names[1]), tmp_path / "private"
    if path.exists():
        path.rename(private)
    else:
        private.write_bytes(paths_of(names[1]).dseg.read_bytes())
    path.symlink_to(private)
    plan = _plan(replace(options, output_dir=tmp_path / "new", derivatives=(options.output_dir,)))
    assert [n.scan.name for n, _ in plan.adopted] == ["sub-01_T1w", "sub-03_T1w"]
    assert [scan.name for scan in plan.todo] == ["sub-02_T1w"]
    told = f"sub-02_T1w: not taken over from {options.output_dir}: {path.relative_to(options.output_dir)}"
    assert [m for m in caplog.messages if m.startswith(told) and str(private) in m]


def test_content_in_the_annex_is_taken_over(finished, tmp_path):
    options, names = finished
    objects = options.output_dir / ".git" / "annex" / "objects"
    objects.mkdir(parents=True)
    before = {path.name: path.read_bytes() for path in names[0].files}
    for path in names[0].files:
        path.rename(objects / path.name)
        path.symlink_to(f"../../.git/annex/objects/{path.name}")
    run_participant(replace(options, output_dir=tmp_path / "new", derivatives=(options.output_dir,), no_reports=True))
    taken = output_names(names[0].scan, tmp_path / "new").files
    assert {path.name: path.read_bytes() for path in taken} == before
    assert not any(path.is_symlink() for path in taken)


def test_a_pipe_in_place_of_a_result_is_no_result(finished):
    options, names = finished
    paths_of(names[0]).dseg.unlink()
    os.mkfifo(paths_of(names[0]).dseg)
    assert _plan(options).doubts["sub-01_T1w"]["hypothalamus"].text == (
        f"{paths_of(names[0]).dseg.name} cannot be read (it is a pipe, no file)"
    )


def test_an_output_folder_that_is_a_link_elsewhere_costs_its_scan_alone(finished, tmp_path):
    options, names = finished
    names[2].anat_dir.rename(tmp_path / "elsewhere")
    names[2].anat_dir.symlink_to(tmp_path / "elsewhere")
    plan = _plan(options)
    assert [scan.name for scan in plan.kept] == ["sub-01_T1w", "sub-02_T1w"]
    assert plan.doubts["sub-03_T1w"]["ICV"].kind == "links lead out of the folder"

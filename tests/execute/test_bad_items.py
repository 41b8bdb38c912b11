"""One bad item in the data or in the results costs what it belongs to; a dry run tells it before."""

import json
import logging
import os
import re
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from bids_hypo.bids import read_filter_file, sidecar
from bids_hypo.bids.sidecars import read_record
from bids_hypo.errors import ExitCode, InvalidBidsError, ModelError, UsageError
from bids_hypo.execute import local, worker
from bids_hypo.execute.array_script import array_script
from bids_hypo.execute.participant import run_participant
from bids_hypo.image.limits import limit_for, voxel_limit
from bids_hypo.models.catalog import find_models
from bids_hypo.workflow.options import RunOptions
from tests.finished import finished_dataset


@pytest.fixture
def finished(permissions_hold):
    raw, out, names = finished_dataset(permissions_hold, [{"sub": "01"}, {"sub": "02"}])
    return RunOptions(raw, out, no_reports=True), names


def _statuses(results):
    return {result.name: result.status for result in results}


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("folder", ["sub-02/anat"])
def test_a_subject_whose_folder_is_closed_fails_and_the_others_go_on(finished, folder, dry_run):
    options, _ = finished
    (options.bids_dir / folder).chmod(0)
    code, results = run_participant(replace(options, dry_run=dry_run))
    assert _statuses(results) == {"sub-01_T1w": "kept", "sub-02": "missing" if dry_run else "failed"}
    assert code is (ExitCode.OK if dry_run else ExitCode.SCANS_FAILED)
    crash = options.output_dir / "logs" / "crash-sub-02.txt"
    assert crash.exists() is not dry_run
    assert dry_run or "Permission denied" in crash.read_text()


def test_where_all_are_closed_all_fail(finished):
    options, _ = finished
    for label in ("01", "02"):
        (options.bids_dir / f"sub-{label}").chmod(0)
    code, results = run_participant(options)
    assert code is ExitCode.SCANS_FAILED and _statuses(results) == {"sub-01": "failed", "sub-02": "failed"}
    assert run_participant(replace(options, dry_run=True))[0] is ExitCode.OK


def test_an_array_script_leaves_the_closed_subject_out_and_says_so(finished, caplog):
    options, _ = finished
    (options.bids_dir / "sub-02").chmod(0)
    script = array_script("slurm", replace(options, overwrite=True), [])
    assert "    01\n" in script and "    02\n" not in script
    assert any(r.levelno == logging.WARNING and "sub-02" in r.message for r in caplog.records)


def test_results_that_are_closed_cost_their_scan(finished, monkeypatch):
    options, names = finished
    monkeypatch.setattr(worker, "models_for", lambda options: _NoModels)
    monkeypatch.setattr(local, "models_for", lambda options: _NoModels)
    names[1].anat_dir.chmod(0)
    assert _statuses(run_participant(replace(options, dry_run=True))[1])["sub-02_T1w"] == "to do"
    code, results = run_participant(options)
    assert code is ExitCode.SCANS_FAILED
    assert _statuses(results) == {"sub-01_T1w": "kept", "sub-02_T1w": "failed"}


class _NoModels:
    catalog = find_models()


def _pipe(path):
    path.unlink()
    os.mkfifo(path)


def _declare(path, shape):
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_sform(np.eye(4), 1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    path.write_bytes(header.binaryblock + bytes(100))


FORESEEN = {
    "pipe": (_pipe, "a pipe"),
    "huge": (lambda path: _declare(path, (30_000, 30_000, 30_000)), "end early|too large"),
    "time series": (lambda path: nib.save(nib.Nifti1Image(np.ones((20, 20, 20, 3)), np.eye(4)), path), "one 3-D"),
    "dangling": (lambda path: (path.unlink(), path.symlink_to("annex")), "does not exist"),
}


@pytest.mark.parametrize("kind", FORESEEN)
def test_a_dry_run_tells_which_images_cannot_be_measured(finished, kind):
    options, names = finished
    spoil, why = FORESEEN[kind]
    spoil(names[1].scan.path)
    code, results = run_participant(replace(options, dry_run=True, overwrite=True))
    assert code is ExitCode.OK and _statuses(results) == {"sub-01_T1w": "to do", "sub-02_T1w": "will fail"}
    assert results[1].error and re.search(why, results[1].error)


def test_a_dry_run_reckons_with_the_memory_that_it_was_given(finished, monkeypatch):
    options, _ = finished
    monkeypatch.setattr("bids_hypo.image.limits.ALWAYS_VOXELS", 10)
    monkeypatch.setattr("bids_hypo.image.limits.PROCESS_GB", 1.9999999)
    dry = replace(options, dry_run=True, overwrite=True)
    assert set(_statuses(run_participant(replace(dry, memory_gb=2.0))[1]).values()) == {"will fail"}
    assert set(_statuses(run_participant(replace(dry, memory_gb=3.0))[1]).values()) == {"to do"}
    assert voxel_limit() == limit_for(None)


def test_every_scan_is_read_under_the_limit_of_its_run(finished, monkeypatch):
    options, names = finished
    seen = []
    monkeypatch.setattr(worker, "models_for", lambda options: _NoModels)
    monkeypatch.setattr(local, "models_for", lambda options: _NoModels)
    monkeypatch.setattr(worker, "process_scan", lambda *_args, **_kwargs: seen.append(voxel_limit()) or _failed())
    list(local.run_here([n.scan for n in names], replace(options, overwrite=True, memory_gb=6.0)))
    assert seen == [limit_for(6.0, n_scans=2)] * 2


def _failed():
    raise RuntimeError("enough")


RECORDS = {
    "deep": lambda record: "[" * 100_000,
    "no object": lambda record: "5",
    "odd files": lambda record: json.dumps(record | {"Files": {"../../x": 5}}),
    "odd sources": lambda record: json.dumps(record | {"Sources": 5}),
}


@pytest.mark.parametrize("kind", RECORDS)
def test_a_closing_record_of_any_content_has_its_scan_done_again(finished, kind):
    options, names = finished
    path = sidecar(names[1].morph)
    path.write_text(RECORDS[kind](read_record(path)))
    _, results = run_participant(replace(options, dry_run=True))
    assert _statuses(results) == {"sub-01_T1w": "kept", "sub-02_T1w": "to do"}


@pytest.mark.parametrize("entry", [{"HeadAxes": {"Right": 5}}, {"Edited": 5}, {"Automatic": [5]}])
def test_a_record_with_odd_entries_costs_its_scan_alone(finished, entry):
    options, names = finished
    path = sidecar(names[1].morph)
    record = read_record(path) | entry
    path.write_text(json.dumps(record))
    code, results = run_participant(replace(options, use_edited=True, reports_only=True, no_reports=False))
    assert _statuses(results)["sub-01_T1w"] == "redrawn"
    assert code in (ExitCode.OK, ExitCode.SCANS_FAILED)


def test_what_cannot_be_taken_over_fails_alone(finished, permissions_hold):
    options, _ = finished
    new = permissions_hold / "new"
    (new / "sub-02").mkdir(parents=True)
    (new / "sub-02").chmod(0o500)
    code, results = run_participant(replace(options, output_dir=new, derivatives=(options.output_dir,)))
    assert code is ExitCode.SCANS_FAILED
    assert _statuses(results) == {"sub-01_T1w": "kept", "sub-02_T1w": "failed"}


def test_what_belongs_to_the_run_is_told_before_any_work(finished, permissions_hold):
    options, _ = finished
    models = permissions_hold / "models" / "hypothalamus"
    models.mkdir(parents=True)
    (models / "bundle.json").write_text("[" * 100_000)
    with pytest.raises(ModelError, match=r"bundle\.json"):
        run_participant(replace(options, models_dir=models.parent, dry_run=True))
    (options.bids_dir / "dataset_description.json").write_text("[" * 100_000)
    with pytest.raises(InvalidBidsError, match=r"dataset_description\.json"):
        run_participant(replace(options, dry_run=True))


def test_a_filter_file_that_is_nested_without_end_is_a_message(tmp_path):
    (tmp_path / "filter.json").write_text('{"t1w": ' * 100_000)
    with pytest.raises(UsageError, match=r"filter\.json"):
        read_filter_file(tmp_path / "filter.json")

"""The end of a run: figures and pages are made, made again when old, and never cost a result."""

import hashlib
import json
import os
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from bids_hypo.bids import output_names, sidecar
from bids_hypo.bids.names import FIGURES_RECORD, HEAD_FIGURES, STRUCTURE_FIGURES
from bids_hypo.bids.query import Selection
from bids_hypo.bids.sidecars import read_record, write_json
from bids_hypo.errors import ExitCode
from bids_hypo.execute.participant import run_participant, summary_table
from bids_hypo.execute.reporting import finish_reports
from bids_hypo.image.volume import read_volume
from bids_hypo.models.catalog import find_models
from bids_hypo.structures import HYPOTHALAMUS
from bids_hypo.workflow import drawing, reports
from bids_hypo.workflow.drawing import figure_paths
from bids_hypo.workflow.edited import Counted
from bids_hypo.workflow.options import RunOptions
from bids_hypo.workflow.result import read_result
from tests.finished import TRIDENT, finished_dataset, paths_of, structure_named, write_finished
from tests.phantoms import bids_errors


@pytest.fixture
def finished(tmp_path):
    raw, out, names = finished_dataset(tmp_path, [{"sub": "01", "run": "1"}, {"sub": "01", "run": "2"}, {"sub": "02"}])
    return RunOptions(raw, out), names


def _by_name(results):
    return {r.name: r for r in results}


def test_a_run_without_work_makes_what_is_missing_and_then_nothing(finished):
    options, names = finished
    code, results = run_participant(options)
    assert code is ExitCode.OK and {r.status for r in results} == {"kept"}
    assert not any(r.report_error for r in results)
    made = [*(path for n in names for path in figure_paths(n, [HYPOTHALAMUS]).values()), *{n.report for n in names}]
    assert all(p.is_file() for p in made)
    assert {p.name for p in options.output_dir.glob("*.html")} == {"sub-01.html", "sub-02.html", "index.html"}
    assert sorted(p.suffix for p in (options.output_dir / "logs").glob("CITATION.*")) == [".bib", ".md", ".tex"]
    assert bids_errors(options.output_dir) == []
    times = {p: p.stat().st_mtime_ns for p in made}
    run_participant(options)
    assert times == {p: p.stat().st_mtime_ns for p in made}


def test_a_page_holds_all_runs_of_a_subject(finished):
    options, names = finished
    run_participant(options)
    page = names[0].report.read_text()
    assert names[0].report == names[1].report
    assert all(f'<section id="{n.scan.name}"' in page for n in names[:2])
    assert names[2].scan.name not in page


def test_only_what_is_older_than_its_results_is_made_again(finished):
    options, names = finished
    run_participant(options)
    head = names[2].figure(*HEAD_FIGURES["head"])
    drawn = head.stat().st_mtime_ns
    times = {n.scan.name: n.figure(*FIGURES_RECORD).stat().st_mtime_ns for n in names}
    pages = {n.report: n.report.stat().st_mtime_ns for n in names}
    late = sidecar(names[2].morph)
    os.utime(late, ns=(10**9 + max(times.values()),) * 2)
    run_participant(options)
    changed = [n.scan.name for n in names if n.figure(*FIGURES_RECORD).stat().st_mtime_ns != times[n.scan.name]]
    assert changed == [names[2].scan.name]
    assert head.stat().st_mtime_ns == drawn  # looked at again: it would be drawn from the same
    assert {p.name for p, t in pages.items() if p.stat().st_mtime_ns != t} == {"sub-02.html"}


def test_a_structure_that_is_added_is_drawn_and_nothing_else(tmp_path):
    raw, out, (before,) = finished_dataset(tmp_path, [{"sub": "01"}])
    options = RunOptions(raw, out)
    run_participant(options)
    times = {path: path.stat().st_mtime_ns for path in figure_paths(before, [HYPOTHALAMUS]).values()}
    names = output_names(before.scan, out, [HYPOTHALAMUS, TRIDENT.name])
    write_finished(names)
    assert reports.figures_missing_or_old(names)
    assert reports.redraw(names.scan, names).error is None and not reports.figures_missing_or_old(names)
    assert times == {path: path.stat().st_mtime_ns for path in times}
    every = {path: path.read_bytes() for path in figure_paths(names, names.structures).values()}
    assert len(every) == len(times) + len(STRUCTURE_FIGURES)
    record = names.figure(*FIGURES_RECORD).read_bytes()
    assert reports.redraw(names.scan, names, anew=True).error is None
    assert every == {path: path.read_bytes() for path in every} and record == names.figure(*FIGURES_RECORD).read_bytes()
    assert not set(times.items()) & {(path, path.stat().st_mtime_ns) for path in times}


def test_reports_only_makes_the_same_pages_again(finished):
    options, _ = finished
    run_participant(options)
    before = {p: p.read_bytes() for p in options.output_dir.glob("*.html")}
    for path in before:
        path.unlink()
    code, results = run_participant(replace(options, reports_only=True))
    assert code is ExitCode.OK and {r.status for r in results} == {"redrawn"}
    assert before == {p: p.read_bytes() for p in options.output_dir.glob("*.html")}


def test_a_failure_in_drawing_is_told_and_costs_nothing(finished, monkeypatch):
    options, names = finished
    before = {p: p.read_bytes() for n in names for p in n.files}

    def broken(*_args, **_kwargs):
        raise ValueError("no paint")

    monkeypatch.setattr(reports, "draw_figures", broken)
    code, results = run_participant(options)
    assert code is ExitCode.OK and {r.status for r in results} == {"kept"}
    assert all("no paint" in r.report_error for r in results)
    table = summary_table(results)
    assert table["report"].str.contains("no paint").all() and table["hypothalamus_mm3"].notna().all()
    assert before == {p: p.read_bytes() for p in before}
    code, results = run_participant(replace(options, reports_only=True))
    assert code is ExitCode.SCANS_FAILED and all("no paint" in r.error for r in results)


def test_drawing_within_a_scan_never_raises(finished, monkeypatch, caplog):
    _, (names, *_) = finished
    monkeypatch.setattr(drawing, "structure_mosaics", lambda *_: 1 / 0)
    volume = read_volume(names.scan.path)
    labels = np.zeros(volume.data.shape, np.uint8)
    text = drawing.try_to_draw(
        names, volume, Counted({HYPOTHALAMUS: (structure_named(HYPOTHALAMUS), labels)}, labels > 0)
    )
    assert "ZeroDivisionError" in text and str(names.scan.path) in text and text in caplog.text


SCRIPT = b'<svg xmlns="http://www.w3.org/2000/svg"><script>document.title = "mine"</script></svg>'


@pytest.mark.parametrize("foreign", [b"\xff\xfe", SCRIPT])
def test_a_figure_that_is_not_as_it_was_drawn_is_drawn_again(finished, foreign):
    options, names = finished
    run_participant(options)
    coronal, page = names[2].figure(*STRUCTURE_FIGURES["coronal"], structure=HYPOTHALAMUS), names[2].report
    before = coronal.read_bytes(), page.read_bytes()
    coronal.write_bytes(foreign)
    _, results = run_participant(options)
    assert not any(result.report_error for result in results)
    assert (coronal.read_bytes(), page.read_bytes()) == before


def test_a_figure_that_cannot_be_drawn_again_is_not_shown_and_the_page_says_so(finished, caplog):
    options, names = finished
    run_participant(options)
    coronal = names[2].figure(*STRUCTURE_FIGURES["coronal"], structure=HYPOTHALAMUS)
    coronal.write_bytes(SCRIPT)
    names[2].report.unlink()
    names[2].scan.path.unlink()
    finish_reports([read_result(n) for n in names], [n.scan for n in names], options, find_models())
    text = names[2].report.read_text()
    assert "mine" not in text and "Not shown, for the files are not as they were drawn: Coronal" in text
    assert coronal.name in caplog.text and text.count("<h4>") == names[0].report.read_text().count("<h4>") / 2 - 1


def test_a_script_does_not_reach_a_page_even_with_its_checksum_in_the_record(finished, caplog):
    options, names = finished
    run_participant(options)
    coronal = names[2].figure(*STRUCTURE_FIGURES["coronal"], structure=HYPOTHALAMUS)
    record = names[2].figure(*FIGURES_RECORD)
    coronal.write_bytes(SCRIPT)
    content = read_record(record)
    content["Files"][coronal.name] = hashlib.sha256(SCRIPT).hexdigest()
    write_json(record, content)
    names[2].report.unlink()
    run_participant(options)
    text = names[2].report.read_text()
    assert "mine" not in text and "Not shown" in text and "an element 'script'" in caplog.text


def test_a_scan_that_is_gone_is_a_failure_of_reports_only_alone(finished):
    options, names = finished
    names[2].scan.path.unlink()
    result = finish_reports([read_result(n) for n in names], [n.scan for n in names], options, find_models())
    assert _by_name(result)["sub-02_T1w"].status == "kept"
    assert "sub-02_T1w.nii.gz" in _by_name(result)["sub-02_T1w"].report_error


def test_corrected_masks_are_taken_in_on_request_only(finished):
    options, names = finished
    run_participant(options)
    labels = np.asarray(nib.load(paths_of(names[2]).dseg).dataobj).copy()
    labels[2:12, 2:12, 2] = 2
    nib.save(
        nib.Nifti1Image(labels, nib.load(paths_of(names[2]).dseg).affine),
        paths_of(names[2]).edited,
    )
    automatic = read_result(names[2])
    _, results = run_participant(options)
    assert _by_name(results)["sub-02_T1w"].volumes_mm3["hypothalamus"] == automatic.volumes_mm3["hypothalamus"]
    code, results = run_participant(replace(options, use_edited=True))
    edited = _by_name(results)["sub-02_T1w"]
    assert code is ExitCode.OK and edited.status == "edited"
    assert edited.volumes_mm3["hypothalamus"] == pytest.approx(automatic.volumes_mm3["hypothalamus"] + 100 * 27)
    page = names[2].report.read_text()
    assert "corrected by hand" in page and paths_of(names[2]).edited.name in page
    assert "The masks of 1 scan were corrected" in (options.output_dir / "logs" / "CITATION.md").read_text()
    _, results = run_participant(options)  # stays until it is taken away
    assert _by_name(results)["sub-02_T1w"].volumes_mm3["hypothalamus"] == edited.volumes_mm3["hypothalamus"]


def test_a_corrected_mask_that_cannot_be_used_is_a_failure(finished):
    options, names = finished
    paths_of(names[2]).edited.write_bytes(b"nothing")
    code, results = run_participant(replace(options, use_edited=True))
    assert code is ExitCode.SCANS_FAILED
    assert "desc-edited" in _by_name(results)["sub-02_T1w"].error
    assert _by_name(results)["sub-01_run-1_T1w"].status == "kept"


def test_a_selection_leaves_the_other_pages_alone_and_lists_all_scans(finished):
    options, names = finished
    run_participant(replace(options, selection=Selection(participant_labels=frozenset({"02"}))))
    assert names[2].report.is_file() and not names[0].report.exists()
    index = (options.output_dir / "index.html").read_text()
    assert all(n.scan.name in index for n in names)


def test_a_json_without_sources_does_not_stop_the_pages(finished):
    options, names = finished
    sidecar(names[0].morph).write_text(json.dumps({"Sources": 3}))
    problems = reports.write_pages(options.output_dir, options.bids_dir, [])
    assert names[0].scan.name not in problems
    assert names[0].scan.name not in (options.output_dir / "index.html").read_text()

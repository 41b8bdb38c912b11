"""Jobs run one at a time, tell what they do, and never take the server down."""

import threading
import time

import pytest

from bids_hypo.errors import ScanReadError, UsageError
from bids_hypo.execute import worker
from bids_hypo.gui import jobs
from bids_hypo.gui.jobs import JobFailed, Runner, ScanDone, Stage
from bids_hypo.gui.options import GuiOptions, Limits
from bids_hypo.gui.sessions import Sessions
from bids_hypo.models.catalog import find_models
from bids_hypo.workflow.result import ScanResult, Status
from bids_hypo.workflow.stopwatch import Stopwatch
from tests.phantoms import make_bids_dataset


@pytest.fixture
def runner(sessions):
    made = Runner(GuiOptions(), sessions)
    yield made
    made.close()


def _events(runner, work, key="one"):
    return [event for event in runner.follow(runner.sessions.get(key), work) if event is not None]


def test_events_arrive_in_order_and_the_session_is_released(runner):
    session = runner.sessions.get("one")
    found = _events(runner, lambda tell: [tell(Stage("read", 1, 1, "x")), tell(Stage("write", 1, 1, "x"))])
    assert [event.key for event in found] == ["queued", "read", "write"]
    assert session.jobs == 0


def test_failures_become_sentences_and_the_next_job_runs(runner, caplog):
    def known(tell):
        raise ScanReadError("a.nii: not an image. Convert it.")

    def unknown(tell):
        raise ZeroDivisionError("secret detail")

    assert _events(runner, known)[-1] == JobFailed("a.nii: not an image. Convert it.")
    told = _events(runner, unknown)[-1].message
    assert "ZeroDivisionError" in told and "secret" not in told
    assert "secret detail" in caplog.text  # for the server's log
    assert _events(runner, lambda tell: tell(Stage("read")))[-1].key == "read"


def test_two_jobs_never_overlap(runner):
    together = threading.Barrier(2)
    alone = []

    def work(tell):
        try:
            together.wait(0.3)
        except threading.BrokenBarrierError:
            together.reset()
            alone.append(1)

    threads = [threading.Thread(target=_events, args=(runner, work, key)) for key in ("one", "two", "three")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert alone == [1, 1, 1]


def test_a_job_of_a_closed_page_does_not_start(runner):
    session = runner.sessions.get("one")
    session.ended = True
    done = []
    assert [e.key for e in runner.follow(session, lambda tell: done.append(1)) if e] == ["queued"]
    assert done == []


def test_after_the_end_a_job_is_refused(runner):
    runner.close()
    assert isinstance(_events(runner, lambda tell: None)[-1], JobFailed)


def test_closing_waits_for_what_still_writes(runner):
    begun, done = threading.Event(), []

    def work(tell):
        begun.set()
        time.sleep(0.3)
        done.append(1)

    thread = threading.Thread(target=_events, args=(runner, work))
    thread.start()
    begun.wait()
    runner.close()
    assert done == [1]
    thread.join()
    with pytest.raises(UsageError):
        runner.example(0)
    assert list(runner.sessions.root.glob("*examples*")) == []


def test_stages_are_told_while_somebody_listens():
    heard = []
    with Stopwatch(heard.append).stage("read"):
        pass
    with Stopwatch().stage("write"):
        pass
    assert heard == ["read"]


def test_a_dataset_is_measured_a_participant_at_a_time(runner, tmp_path, monkeypatch):
    make_bids_dataset(tmp_path / "raw", [{"sub": "01", "ses": "1"}, {"sub": "01", "ses": "2"}, {"sub": "02"}])
    asked = []

    def process(names, models, *, items, fast, settings, tell):
        scan = names.scan
        asked.append((scan.name, fast))
        with Stopwatch(tell).stage("read"):
            if scan.subject == "02":
                raise ScanReadError(f"{scan.path}: bad")
        return ScanResult(scan.name, Status.DONE, {"hypothalamus": 3.0})

    monkeypatch.setattr(worker, "process_scan", process)
    monkeypatch.setattr(worker, "models_for", lambda options: _Models())
    monkeypatch.setattr("bids_hypo.execute.local.models_for", lambda options: _Models())
    monkeypatch.setattr(jobs, "models_for", lambda options: _Models())
    told = []
    session = runner.sessions.get("one")
    runner.measure(session, tmp_path / "raw", tmp_path / "out", told.append)
    results = [event.result for event in told if isinstance(event, ScanDone)]
    assert [(r.name, r.status) for r in results] == [
        ("sub-01_ses-1_T1w", "done"), ("sub-01_ses-2_T1w", "done"), ("sub-02_T1w", "failed")
    ]  # fmt: skip
    assert all(fast is False for _, fast in asked) and len(asked) == 3  # as the command line does unless told
    reading = [(e.number, e.total, e.name) for e in told if isinstance(e, Stage) and e.key == "read"]
    assert reading == [(1, 3, "sub-01_ses-1_T1w"), (2, 3, "sub-01_ses-2_T1w"), (3, 3, "sub-02_T1w")]


def test_a_participant_outside_the_folder_that_is_offered_fails_alone(runner, tmp_path, monkeypatch):
    make_bids_dataset(tmp_path / "raw", [{"sub": "01"}, {"sub": "02"}])
    make_bids_dataset(tmp_path / "other", [{"sub": "03"}])
    (tmp_path / "raw" / "sub-03").symlink_to(tmp_path / "other" / "sub-03")
    measured = []

    def run(options, *, tell):
        measured.extend(options.selection.participant_labels)
        return 0, [ScanResult(f"sub-{measured[-1]}_T1w", Status.DONE)]

    monkeypatch.setattr(jobs, "run_participant", run)
    monkeypatch.setattr(jobs, "models_for", lambda options: _Models())
    told = []
    session = runner.sessions.get("one")
    runner.measure(session, tmp_path / "raw", tmp_path / "out", told.append, within=tmp_path / "raw")
    failed = [event.result for event in told if isinstance(event, ScanDone) and event.result.status == "failed"]
    assert measured == ["01", "02"] and [result.name for result in failed] == ["sub-03"]
    assert "sub-03_T1w.nii.gz: a link leads outside" in failed[0].error
    runner.measure(session, tmp_path / "raw", tmp_path / "out", told.append)
    assert measured[2:] == ["01", "02", "03"]  # without --data a user's links lead anywhere


def test_a_job_needs_room(sessions):
    full = Runner(GuiOptions(), Sessions(sessions.root, Limits(total_mb=0)))
    assert full.limits.left_mb == 0
    assert "0 MB" in _events(full, lambda tell: tell(Stage("read")))[-1].message
    full.close()


class _Models:
    def __init__(self):
        self.catalog, self.device = find_models(), "cpu"

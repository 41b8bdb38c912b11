"""Scans overlapping in one process; the work itself is a plain function here."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from threading import Barrier, get_ident

import pytest

from bids_hypo.bids import output_names
from bids_hypo.bids.query import Scan
from bids_hypo.errors import UsageError
from bids_hypo.execute import local
from bids_hypo.workflow.options import RunOptions
from bids_hypo.workflow.result import ScanResult
from tests.finished import paths_of

OPTIONS = RunOptions(Path("raw"), Path("out"), device="cpu")


def _scans(n):
    return [Scan(Path(f"raw/sub-{k:02d}_T1w.nii.gz"), {"sub": f"{k:02d}"}, "T1w", Path("raw")) for k in range(n)]


def _done(scan):
    return ScanResult(scan.path.name, "done")


@pytest.fixture
def loaded(monkeypatch):
    calls = []
    monkeypatch.setattr(local, "models_for", calls.append)
    return calls


def test_two_scans_are_in_work_at_a_time_and_each_is_done_once(loaded, monkeypatch):
    both, threads = Barrier(2, timeout=20), set()

    def work(scan, options):
        threads.add(get_ident())
        both.wait()  # breaks, and so fails the test, if scans come one after the other
        return _done(scan)

    monkeypatch.setattr(local, "work", work)
    results = list(local.run_here(_scans(6), OPTIONS))
    assert sorted(r.name for r in results) == [s.path.name for s in _scans(6)]
    assert len(threads) == 2 and [options.overlap for options in loaded] == [2]


def test_a_single_scan_has_all_threads_to_itself(loaded, monkeypatch):
    monkeypatch.setattr(local, "work", lambda scan, options: _done(scan))
    assert len(list(local.run_here(_scans(1), OPTIONS))) == 1
    assert [options.overlap for options in loaded] == [1]


def test_little_memory_means_one_scan_after_the_other(loaded, monkeypatch):
    threads = set()
    monkeypatch.setattr(local, "work", lambda scan, options: threads.add(get_ident()) or _done(scan))
    options = RunOptions(Path("raw"), Path("out"), device="cpu", memory_gb=2.6)
    assert len(list(local.run_here(_scans(5), options))) == 5
    assert len(threads) == 1


def test_who_stops_taking_results_stops_the_work(loaded, monkeypatch):
    begun = []

    def work(scan, options):
        begun.append(scan)
        time.sleep(0.05)  # else all may be done before anybody could stop them
        return _done(scan)

    monkeypatch.setattr(local, "work", work)
    source = local.overlapping(_scans(200), OPTIONS)
    next(source)
    source.close()
    assert len(begun) < 200


def test_unusable_models_end_the_run_and_not_each_scan(monkeypatch):
    def fails(options):
        raise UsageError("--device gpu: none")

    monkeypatch.setattr(local, "models_for", fails)
    with pytest.raises(UsageError, match="none"):
        list(local.run_here(_scans(3), OPTIONS))


def test_a_gpu_has_one_process(loaded, monkeypatch):
    class OnGpu:
        device = "gpu:0"

    both = Barrier(4, timeout=20)
    monkeypatch.setattr(local, "has_gpu_driver", lambda: True)
    monkeypatch.setattr(local, "models_for", lambda options: OnGpu)
    monkeypatch.setattr(local, "work", lambda scan, options: both.wait() is None or _done(scan))
    options = RunOptions(Path("raw"), Path("out"), device="auto", n_procs=4)
    assert len(list(local.run_here(_scans(4), options))) == 4


def _slow_work(scan, options):
    """In a process of its own: notes that it was called, and dies in the middle of writing of subject 01."""
    options.output_dir.joinpath(f"begun-{scan.name}").touch()
    if scan.subject == "01":
        half = paths_of(output_names(scan, options.output_dir)).dseg
        half.parent.mkdir(parents=True, exist_ok=True)
        half.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return _done(scan)


@pytest.fixture
def processes(loaded, monkeypatch, tmp_path):
    monkeypatch.setattr(local, "work", _slow_work)
    return replace(OPTIONS, output_dir=tmp_path, n_procs=2)


def test_a_process_that_dies_costs_its_scan_and_leaves_nothing_half(processes, tmp_path):
    scans = _scans(4)
    results = list(local.run_here(scans, processes))
    assert len(results) == len(scans)
    (failed,) = [r for r in results if r.status == "failed"]
    assert failed.name == scans[1].name and "SIGKILL" in failed.error and results[-1] is failed
    assert not list(tmp_path.glob("sub-01/anat/*")) and len(list((tmp_path / "logs").iterdir())) == 1


def test_who_stops_taking_results_stops_the_processes(processes, tmp_path):
    source = local.run_here([_scans(1)[0], *_scans(200)[2:]], processes)
    next(source)
    source.close()
    assert len(list(tmp_path.glob("begun-*"))) < 199

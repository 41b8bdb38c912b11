"""Scans overlapping in one process; the work itself is a plain function here."""

from pathlib import Path
from threading import Barrier, get_ident

import pytest

from bids_hypo.bids.query import Scan
from bids_hypo.errors import UsageError
from bids_hypo.execute import local
from bids_hypo.workflow.options import RunOptions
from bids_hypo.workflow.participant import ScanResult

OPTIONS = RunOptions(Path("raw"), Path("out"), device="cpu")


def _scans(n):
    return [Scan(Path(f"raw/sub-{k:02d}_T1w.nii.gz"), {"subject": f"{k:02d}"}, "T1w", Path("raw")) for k in range(n)]


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
    assert len(threads) == 2 and len(loaded) == 1


def test_little_memory_means_one_scan_after_the_other(loaded, monkeypatch):
    threads = set()
    monkeypatch.setattr(local, "work", lambda scan, options: threads.add(get_ident()) or _done(scan))
    options = RunOptions(Path("raw"), Path("out"), device="cpu", memory_gb=2.6)
    assert len(list(local.run_here(_scans(5), options))) == 5
    assert len(threads) == 1


def test_who_stops_taking_results_stops_the_work(loaded, monkeypatch):
    begun = []
    monkeypatch.setattr(local, "work", lambda scan, options: begun.append(scan) or _done(scan))
    source = local.overlapping(_scans(200), OPTIONS, 1)
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

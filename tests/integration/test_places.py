"""Wherever the work runs, the results are the same bytes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bids_hypo.bids import find_scans, output_names, prepare_output
from bids_hypo.bids.query import Selection
from bids_hypo.cli.main import main
from bids_hypo.execute import local
from bids_hypo.workflow.options import RunOptions
from bids_hypo.workflow.result import ScanResult

pytestmark = pytest.mark.slow


def _same_bytes(demo: Path, one: Path, other: Path) -> None:
    scans, _ = find_scans(demo, Selection(participant_labels=("01",)))
    for scan in scans:
        for a, b in zip(output_names(scan, one).images, output_names(scan, other).images, strict=True):
            assert a.read_bytes() == b.read_bytes()


def test_overlapping_scans_give_the_same_bytes(demo, segmented, tmp_path):
    scans, _ = find_scans(demo, Selection(participant_labels=("01",)))
    prepare_output(tmp_path / "out", demo, command_version="0")
    results = list(local.overlapping(scans, RunOptions(demo, tmp_path / "out", device="cpu")))
    assert {r.status for r in results} == {"done"}
    _same_bytes(demo, segmented, tmp_path / "out")


def test_a_dask_cluster_gives_the_same_bytes(demo, segmented, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        arguments = [str(demo), str(tmp_path / "out"), "participant", "--participant-label", "01", "--device", "cpu"]
        assert main([*arguments, "--scheduler", cluster.scheduler_address]) == 0
    _same_bytes(demo, segmented, tmp_path / "out")


def test_an_absent_scheduler_is_a_usage_error(demo, tmp_path, monkeypatch, capsys):
    pytest.importorskip("distributed")
    monkeypatch.setattr("bids_hypo.execute.cluster.CONNECT_SECONDS", 1)
    arguments = [str(demo), str(tmp_path / "out"), "participant", "--scheduler", "tcp://127.0.0.1:9"]
    assert main(arguments) == 64
    assert "tcp://127.0.0.1:9" in capsys.readouterr().err


def test_little_memory_means_one_process(demo, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(local, "work", lambda scan, options: seen.append(os.getpid()) or ScanResult(scan.name, "done"))
    scans, _ = find_scans(demo, Selection())
    list(local.run_here(scans, RunOptions(demo, tmp_path, n_procs=4, memory_gb=3.0)))
    assert seen == [os.getpid()] * 3

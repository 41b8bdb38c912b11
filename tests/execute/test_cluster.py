"""Scans on a real Dask scheduler with real worker processes, some of which die; the networks are fakes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import pytest

from bids_hypo.bids import find_scans, output_names, prepare_output
from bids_hypo.bids.query import Selection
from bids_hypo.bids.resume import find_doubts
from bids_hypo.cli.main import main
from bids_hypo.errors import NoInputError, ScanReadError, UsageError
from bids_hypo.execute import cluster, cluster_jobs, cluster_worker
from bids_hypo.execute.cluster import RETRIES, run_on_cluster
from bids_hypo.execute.cluster_jobs import read_job_file
from bids_hypo.execute.cluster_worker import Expected, expectation, versions_here, why_unfit, worth_another_try
from bids_hypo.models.catalog import find_models
from bids_hypo.workflow.options import RunOptions
from bids_hypo.workflow.result import ScanResult
from tests.conftest import ROOT
from tests.finished import write_finished
from tests.phantoms import make_bids_dataset

pytest.importorskip("distributed")
pytestmark = pytest.mark.slow

needs_jobqueue = pytest.mark.skipif(find_spec("dask_jobqueue") is None, reason="dask-jobqueue is not installed")
PRELOAD = Path(__file__).with_name("fake_worker.py")


def _dask(*arguments: object, **extra: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "2", **extra}
    return subprocess.Popen(
        [sys.executable, "-m", "dask", *map(str, arguments)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _worker(file: Path, folder: Path, *arguments: str, **extra: str) -> subprocess.Popen[bytes]:
    return _dask(
        "worker", "--scheduler-file", file, "--nworkers", 1, "--nthreads", 1, "--no-dashboard", "--preload", PRELOAD,
        "--local-directory", folder, "--death-timeout", 60, *arguments, **extra,
    )  # fmt: skip


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()


def _wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """A scheduler file; two worker processes with nannies, which start them again when they die."""
    folder = tmp_path_factory.mktemp("dask")
    file = folder / "scheduler.json"
    processes = [_dask("scheduler", "--port", 0, "--no-dashboard", "--scheduler-file", file)]
    _wait_for(file.exists)
    processes += [_worker(file, folder) for _ in range(2)]
    from distributed import Client

    with Client(scheduler_file=str(file)) as client:
        client.wait_for_workers(2, timeout=120)
    yield file
    for process in reversed(processes):
        _stop(process)


@pytest.fixture
def data(tmp_path):
    """Function: subjects, one scan each -> options with a prepared output folder, and the scans."""

    def make(*subjects: str, scheduler: object = None, **given: object):
        make_bids_dataset(tmp_path / "raw", [{"sub": s} for s in subjects])
        options = RunOptions(tmp_path / "raw", tmp_path / "out", device="cpu", scheduler=str(scheduler), **given)
        prepare_output(options.output_dir, options.bids_dir, command_version="test")
        return options, find_scans(options.bids_dir, Selection())[0]

    return make


def _calls(options: RunOptions) -> Counter[str]:
    names = (p.name.split(".")[0].removesuffix("_T1w") for p in (options.bids_dir.parent / "calls").iterdir())
    return Counter(names)


def _complete(options: RunOptions, scan) -> bool:
    digests = {item: [b.weights_sha256 for b in made] for item, made in find_models().makers("T1w").items()}
    return not find_doubts(output_names(scan, options.output_dir), digests)


def _run_with_failures(options: RunOptions, scans, failed: set[str]) -> dict[str, ScanResult]:
    results = list(run_on_cluster(scans, options))
    found = {r.name.removesuffix("_T1w"): r for r in results}
    assert len(results) == len(found) == len(scans)
    assert {name for name, result in found.items() if result.status == "failed"} == failed
    assert [_complete(options, s) for s in scans] == [f"sub-{s.subject}" not in failed for s in scans]
    crashes = {p.name for p in (options.output_dir / "logs").iterdir()}
    assert crashes == {f"crash-{name}_T1w.txt" for name in failed}
    return found


def test_errors_cost_no_other_scan(data, scheduler):
    """Bad data is tried once, an error of the disk some more times."""
    options, scans = data("01", "bad", "io", "ioonce", scheduler=scheduler)
    found = _run_with_failures(options, scans, {"sub-bad", "sub-io"})
    assert _calls(options) == {"sub-01": 1, "sub-bad": 1, "sub-io": 1 + RETRIES, "sub-ioonce": 2}
    assert "Input/output" in found["sub-io"].error


def test_deaths_cost_no_other_scan(data, scheduler):
    """One scan kills its worker while writing, once; another kills every worker."""
    options, scans = data("01", "02", "killsonce", "kills", scheduler=scheduler)
    found = _run_with_failures(options, scans, {"sub-kills"})
    calls = _calls(options)
    assert calls["sub-01"] == calls["sub-02"] == 1 and calls["sub-killsonce"] == 2
    assert RETRIES < calls["sub-kills"] <= RETRIES + 3  # and some more, up to allowed-failures plus one
    assert "died" in found["sub-kills"].error
    # What a dead worker left half is taken away.
    assert not list(options.output_dir.rglob("*.part"))
    assert not list(options.output_dir.glob("sub-kills/anat/*"))


@pytest.mark.parametrize("n_starts", [0, 1, RETRIES, RETRIES + 1])
def test_a_scan_is_blamed_only_for_what_it_began(data, n_starts):
    """Dask counts every death of a worker on which a scan lay, also while another one was being processed there."""

    from distributed import KilledWorker

    class Future:
        status = "error"

        def exception(self) -> Exception:
            return KilledWorker("sub-01_T1w", None, 2)

    options, (scan, other) = data("01", "02")
    with expectation(options.bids_dir, options.output_dir) as expected:
        for begun in [scan] * n_starts + [other] * 9:
            expected.note_start(begun)
        hand_out = cluster._HandOut(None, [], options, expected, None)
        future = Future()
        hand_out.running[future] = cluster._Waiting(scan)
        hand_out.ended.put(future)
        result = hand_out._next_result()
        blamed = n_starts > RETRIES
        assert (result is not None and result.status == "failed") is blamed
        assert [item.scan for item in hand_out.waiting] == ([] if blamed else [scan])
    assert not list((options.output_dir / "logs").glob(".probe*"))


def test_a_result_that_is_lost_on_the_way_is_fetched_by_another_try(data):
    """The worker or the scheduler may go between the end of a scan and the fetching of its result."""

    class Future:
        status = "finished"

        def result(self) -> None:
            raise OSError("Timed out trying to connect")

    options, (scan,) = data("01")
    with expectation(options.bids_dir, options.output_dir) as expected:
        hand_out = cluster._HandOut(None, [], options, expected, None)
        future = Future()
        hand_out.running[future] = cluster._Waiting(scan)
        hand_out.ended.put(future)
        assert hand_out._next_result() is None
        assert [item.scan for item in hand_out.waiting] == [scan]


def test_the_same_bytes_as_without_a_cluster(data, scheduler, tmp_path):
    options, scans = data("01", "02", "03", scheduler=scheduler)
    assert [r.status for r in run_on_cluster(scans, options)].count("failed") == 0
    for scan in scans:
        write_finished(output_names(scan, tmp_path / "here"))
        for one, other in zip(
            output_names(scan, options.output_dir).files, output_names(scan, tmp_path / "here").files, strict=True
        ):
            assert one.read_bytes() == other.read_bytes()


def test_a_worker_killed_from_outside_while_it_works(data, scheduler):
    options, scans = data("slow1", "slow2", "slow3", scheduler=scheduler)
    running = run_on_cluster(scans, options)
    calls = options.bids_dir.parent / "calls"

    def kill() -> None:
        _wait_for(lambda: calls.exists() and list(calls.iterdir()))
        os.kill(int(sorted(calls.iterdir())[0].name.split(".")[1]), signal.SIGKILL)

    killer = Thread(target=kill)
    killer.start()
    results = list(running)
    killer.join()
    assert sorted(r.name for r in results) == [s.name for s in scans]
    assert all(r.status != "failed" for r in results) and all(_complete(options, s) for s in scans)
    assert sum(_calls(options).values()) == 4


def test_what_waits_is_cancelled_when_the_run_is_left(data, scheduler):
    options, scans = data(*(f"slow{n}" for n in range(8)), scheduler=scheduler)
    running = run_on_cluster(scans, options)
    next(running)
    running.close()
    time.sleep(2.5)
    assert sum(_calls(options).values()) <= 4
    assert not list((options.output_dir / "logs").glob(".probe*"))


def test_a_machine_without_the_device_is_told_not_tried_for_ever(data, scheduler):
    options, scans = data("01", scheduler=scheduler)
    with pytest.raises(UsageError, match="no GPU here"):
        list(run_on_cluster(scans, replace(options, device="gpu")))


def test_a_lost_scheduler_fails_the_rest_and_says_so(data, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 5)
    file = tmp_path / "own.json"
    processes = [_dask("scheduler", "--port", 0, "--no-dashboard", "--scheduler-file", file)]
    _wait_for(file.exists)
    processes.append(_worker(file, tmp_path, "--no-nanny"))
    try:
        options, scans = data("01", "slow1", "slow2", scheduler=file)
        results = []
        for result in run_on_cluster(scans, options):
            results.append(result)
            if processes[0].poll() is None:
                processes[0].kill()
                processes[0].wait()
        assert sorted(r.name for r in results) == [s.name for s in scans]
        assert "connection" in next(r for r in results if r.status == "failed").error
    finally:
        for process in processes:
            _stop(process)


def test_a_cluster_without_workers_is_given_up_after_a_while(data, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "NO_WORKER_SECONDS", 1.0)
    monkeypatch.setattr(cluster, "POLL_SECONDS", 0.3)
    file = tmp_path / "own.json"
    process = _dask("scheduler", "--port", 0, "--no-dashboard", "--scheduler-file", file)
    try:
        _wait_for(file.exists)
        options, scans = data("01", "02", scheduler=file)
        results = list(run_on_cluster(scans, options))
        assert [r.status for r in results] == ["failed"] * 2 and "no worker" in results[0].error
    finally:
        _stop(process)


def test_another_environment_or_folder_is_refused(data, tmp_path, monkeypatch):
    options, _ = data("01")
    with expectation(options.bids_dir, options.output_dir) as expected:
        assert why_unfit(expected) is None
        other = Expected(expected.probe, "x", expected.bids_dir, expected.versions)
        assert "another folder" in why_unfit(other)
        absent = replace(expected, bids_dir=tmp_path / "nowhere")
        assert "nowhere" in why_unfit(absent)
        versions = (("Python", "2.7"), *versions_here()[1:])
        assert "Python 3" in why_unfit(replace(expected, versions=versions))
        assert "(expected 2.7)" in why_unfit(replace(expected, versions=versions))
    assert str(options.output_dir) in why_unfit(expected) and "does not see" in why_unfit(expected)


def test_workers_that_do_not_share_the_folder_end_the_run_at_once(data, scheduler, monkeypatch):
    options, scans = data("01", scheduler=scheduler)
    monkeypatch.setattr(cluster_worker, "token_hex", lambda n: "0" * n)
    monkeypatch.setattr(cluster_worker.Path, "write_text", lambda path, *_a, **_k: path.unlink(), raising=False)
    with pytest.raises(UsageError, match="does not see or cannot write the output folder"):
        list(run_on_cluster(scans, options))


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (MemoryError(), True),
        (OSError(5, "Input/output error"), True),
        (OSError(116, "Stale file handle"), True),
        (FileNotFoundError(2, "No such file"), False),
        (PermissionError(13, "Permission denied"), False),
        (OSError("a message alone: damaged data"), False),
        (ScanReadError("bad"), False),
        (ValueError("a mistake of ours"), False),
    ],
)
def test_what_is_worth_another_try(error, again):
    assert worth_another_try(error) is again
    wrapped = ScanReadError("cannot be read")
    wrapped.__cause__ = error
    assert worth_another_try(wrapped) is again


class JobFile(NamedTuple):
    text: str
    said: str


JOB_FILES = {
    "lacks keys": JobFile("jobs: 2\ncores: 2\n", "memory, walltime missing"),
    "no mapping": JobFile("- 1\n", "found list"),
    "no yaml": JobFile("jobs: [\n", "not a YAML"),
    "jobs": JobFile("{jobs: many, cores: 1, memory: 4GB, walltime: '1:00:00'}", "jobs is 'many'"),
    "walltime": JobFile("{jobs: 1, cores: 1, memory: 4GB, walltime: 10:00:00}", "quotes"),
}


@pytest.mark.parametrize("case", JOB_FILES.values(), ids=JOB_FILES)
def test_job_files_are_checked(tmp_path, case):
    (tmp_path / "jobs.yaml").write_text(case.text)
    with pytest.raises(UsageError, match=case.said) as caught:
        read_job_file(tmp_path / "jobs.yaml")
    assert "jobs.yaml" in str(caught.value)


def test_an_absent_job_file_is_no_input(tmp_path):
    with pytest.raises(NoInputError, match="absent"):
        read_job_file(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"scheduler": "host:8786"}, "tcp://HOST:PORT"),
        ({"scheduler": "tcp://127.0.0.1:9"}, "no Dask scheduler answers"),
        ({"scheduler": "absent.json"}, "absent.json"),
        ({"scheduler": "slurm"}, "--scheduler-config"),
        ({"scheduler": "tcp://127.0.0.1:9", "scheduler_config": Path("x.yaml")}, "--scheduler-config"),
    ],
)
def test_a_scheduler_that_cannot_be_used_is_a_usage_error(data, monkeypatch, given, said):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    options, scans = data("01")
    with pytest.raises(UsageError, match=said):
        list(run_on_cluster(scans, replace(options, **given)))


@needs_jobqueue
def test_without_the_queue_there_are_no_jobs(data, tmp_path, monkeypatch):
    config = tmp_path / "jobs.yaml"
    config.write_text("{jobs: 1, cores: 1, memory: 2GB, walltime: '00:10:00'}")
    options, scans = data("01", scheduler="slurm", scheduler_config=config)
    monkeypatch.setattr(cluster_jobs.shutil, "which", lambda _: None)
    with pytest.raises(UsageError, match="no sbatch here"):
        list(run_on_cluster(scans, options))


def _fake_queue(folder: Path, monkeypatch, *, works: bool) -> Path:
    """An sbatch that starts the job at once on this machine, and an scancel that ends it."""
    tools = folder / "tools"
    tools.mkdir()
    run = f"setsid bash {folder}/job.sh > {folder}/job.log 2>&1 &"  # a copy, for the caller removes its file
    submit = f'cp "$1" {folder}/job.sh\n{run}\necho $! >> {folder}/jobs\necho "Submitted batch job $!"'
    (tools / "sbatch").write_text(f"#!/bin/bash\n{submit if works else 'echo Invalid account >&2; exit 1'}\n")
    (tools / "scancel").write_text('#!/bin/bash\nkill -- "-$1" 2>/dev/null; true\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    config = folder / "jobs.yaml"
    settings = {
        "jobs": 1, "cores": 1, "memory": "1GB", "walltime": "00:10:00", "scheduler_options": {"dashboard": False},
        "worker_extra_args": ["--preload", str(PRELOAD), "--no-dashboard"], "local_directory": str(folder),
    }  # fmt: skip
    config.write_text(json.dumps(settings))  # JSON is YAML
    return config


@needs_jobqueue
def test_jobs_of_a_queue_process_the_scans(data, tmp_path, monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    config = _fake_queue(tmp_path, monkeypatch, works=True)
    options, scans = data("01", "02", scheduler="slurm", scheduler_config=config)
    results = list(run_on_cluster(scans, options))
    assert sorted(r.name for r in results) == [s.name for s in scans]
    assert all(_complete(options, s) for s in scans)
    assert len((tmp_path / "jobs").read_text().split()) == 1
    assert signal.getsignal(signal.SIGINT) is before  # dask-jobqueue sets its own


@needs_jobqueue
def test_a_queue_that_takes_no_job_says_why(data, tmp_path, monkeypatch):
    config = _fake_queue(tmp_path, monkeypatch, works=False)
    options, scans = data("01", scheduler="slurm", scheduler_config=config)
    with pytest.raises(UsageError, match="Invalid account"):
        list(run_on_cluster(scans, options))


def test_the_command_line_uses_the_cluster_and_makes_the_pages(data, scheduler, capsys):
    options, _ = data("01", "bad")
    arguments = [str(options.bids_dir), str(options.output_dir), "participant", "--scheduler", str(scheduler)]
    assert main(arguments) == 1
    assert "a bad scan" in capsys.readouterr().err
    assert "sub-01_T1w" in (options.output_dir / "index.html").read_text()


def _command(options: RunOptions, *more: object) -> subprocess.Popen[str]:
    arguments = [options.bids_dir, options.output_dir, "participant", "--device", "cpu", *more]
    return subprocess.Popen(
        [sys.executable, "-m", "bids_hypo", *map(str, arguments)], env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def _begun(options: RunOptions) -> bool:
    calls = options.bids_dir.parent / "calls"
    return calls.exists() and bool(list(calls.iterdir()))


@needs_jobqueue
def test_a_command_that_is_ended_takes_its_jobs_with_it(data, tmp_path, monkeypatch):
    config = _fake_queue(tmp_path, monkeypatch, works=True)
    options, _ = data("slow1", "slow2", "slow3", "slow4")
    command = _command(options, "--scheduler", "slurm", "--scheduler-config", config)
    _wait_for(lambda: _begun(options))
    (job,) = (tmp_path / "jobs").read_text().split()
    command.terminate()
    assert command.wait(20) == 143, command.communicate()[0]
    _wait_for(lambda: subprocess.run(["pgrep", "-g", job], capture_output=True, check=False).returncode, 20)
    assert not list((options.output_dir / "logs").glob(".probe*"))
    assert sum(_calls(options).values()) < 4


def test_a_command_that_is_ended_cancels_what_waits(data, scheduler):
    options, scans = data(*(f"slow{n}" for n in range(8)), scheduler=scheduler)
    command = _command(options, "--scheduler", scheduler)
    _wait_for(lambda: _begun(options))
    command.terminate()
    assert command.wait(20) == 143, command.communicate()[0]
    assert not list((options.output_dir / "logs").glob(".probe*"))
    _wait_for(lambda: not list((options.output_dir / "logs").glob(".*.lock")))  # what is being done goes on to its end
    assert sum(_calls(options).values()) <= 4
    begun = set(_calls(options))
    assert {f"sub-{scan.subject}" for scan in scans if _complete(options, scan)} == begun

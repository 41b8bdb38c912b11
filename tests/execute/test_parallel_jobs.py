"""Several jobs on one output folder, as real processes: arrays, a scan done twice, a job killed. Networks are fakes."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bids_hypo.bids import claims as claims_module
from bids_hypo.bids import find_scans, output_names, prepare_output
from bids_hypo.bids.claims import claim, clear_left_over, lock_file
from bids_hypo.bids.query import Selection
from bids_hypo.cli.main import main
from bids_hypo.execute.cluster_worker import expectation
from bids_hypo.image import held
from bids_hypo.workflow import reports
from bids_hypo.workflow.reports import write_pages
from tests.conftest import ROOT
from tests.finished import finished_dataset, write_finished
from tests.phantoms import bids_errors, make_bids_dataset


@pytest.fixture
def fakes(tmp_path):
    """Environment in which every Python process has the fakes of fake_worker.py."""
    folder = tmp_path / "site"
    folder.mkdir()
    code = "from tests.execute.fake_worker import dask_setup\ndask_setup(None)\n"
    (folder / "sitecustomize.py").write_text(code)
    return {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "MPLBACKEND": "Agg"}


def _dataset(tmp_path: Path, *subjects: str) -> tuple[Path, Path]:
    raw = tmp_path / "my data" / "raw"
    make_bids_dataset(raw, [{"sub": s} for s in subjects])
    return raw, tmp_path / "my data" / "out put"


def _job(raw: Path, out: Path, environment: dict[str, str], *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bids_hypo", str(raw), str(out), "participant", "--device", "cpu", *more]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _calls(raw: Path) -> list[str]:
    return sorted(p.name.split("_T1w")[0] for p in (raw.parent / "calls").iterdir())


def _left_over(out: Path) -> list[str]:
    return [p.name for p in out.rglob(".*") if p.name != ".bidsignore"]


@pytest.mark.slow
def test_jobs_at_once_end_with_a_complete_list(tmp_path, fakes):
    raw, out = _dataset(tmp_path, "01", "02", "03", "04")
    jobs = [_job(raw, out, fakes, "--participant-label", s) for s in ("01", "02", "03", "04")]
    told = [job.communicate(timeout=300)[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 4, told
    index = (out / "index.html").read_text()
    assert all(f"sub-0{n}_T1w" in index for n in range(1, 5))
    assert "4 scans" in (out / "logs" / "CITATION.md").read_text()
    assert json.loads((out / "dataset_description.json").read_text())["DatasetType"] == "derivative"
    assert _left_over(out) == [] and bids_errors(out) == []


@pytest.mark.slow
def test_two_jobs_never_do_the_same_scan_twice(tmp_path, fakes):
    raw, out = _dataset(tmp_path, "slow1", "slow2", "slow3")
    jobs = [_job(raw, out, fakes, "--no-reports") for _ in range(2)]
    told = [job.communicate(timeout=300)[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], told
    assert _calls(raw) == ["sub-slow1", "sub-slow2", "sub-slow3"]
    assert _left_over(out) == [] and not list(out.glob("*.html"))


@pytest.mark.slow
def test_a_killed_job_leaves_its_scan_to_the_next(tmp_path, fakes):
    raw, out = _dataset(tmp_path, "killsonce")
    first = _job(raw, out, fakes)
    first.communicate(timeout=300)
    assert first.returncode == -signal.SIGKILL
    assert list(out.glob("logs/.*.lock")) and list(out.rglob("*.part"))
    second = _job(raw, out, fakes)
    assert second.communicate(timeout=300) and second.returncode == 0
    assert _left_over(out) == []


@pytest.mark.slow
@pytest.mark.parametrize("n_procs", ["1", "2"])
def test_a_job_that_is_ended_leaves_nothing_half_and_no_worker(tmp_path, fakes, n_procs):
    raw, out = _dataset(tmp_path, "hangs1", "hangs2", "hangs3")
    job = _job(raw, out, fakes, "--nprocs", n_procs)
    deadline = time.monotonic() + 120
    while len(list(out.rglob("*.part"))) < 2:  # two scans are in work, and in the middle of a file
        assert time.monotonic() < deadline and job.poll() is None, "waited in vain"
        time.sleep(0.05)
    workers = {int(p.name.split(".")[1]) for p in (raw.parent / "calls").iterdir()}
    assert len(workers) == int(n_procs) and len(list(out.glob("logs/.*.lock"))) == 2
    job.terminate()
    told = job.communicate(timeout=60)[0]
    assert job.returncode == 143 and "ended by SIGTERM" in told and "Traceback" not in told
    assert _left_over(out) == [] and not list(out.glob("sub-*/anat/*"))
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


@pytest.mark.slow
def test_a_scan_that_kills_its_worker_leaves_the_others_their_processes(tmp_path, fakes):
    raw, out = _dataset(tmp_path, "kills", "killsonce", "slow1", "slow2", "slow3", "slow4")
    job = _job(raw, out, fakes, "--nprocs", "2", "--no-reports")
    told = job.communicate(timeout=300)[0]
    assert job.returncode == 1 and "SIGKILL" in told and "--mem" in told
    calls = [p.name.split("_T1w.")[0] + " " + p.name.split(".")[1] for p in (raw.parent / "calls").iterdir()]
    assert sorted(call.split()[0] for call in calls) == [
        "sub-kills", "sub-kills", "sub-killsonce", "sub-killsonce", "sub-slow1", "sub-slow2", "sub-slow3", "sub-slow4",
    ]  # fmt: skip
    assert len({call.split()[1] for call in calls if "slow" in call}) == 2
    assert [p.name for p in out.glob("logs/*")] == ["crash-sub-kills_T1w.txt"]
    assert len(list(out.glob("sub-*/anat/*_dseg.nii.gz"))) == 5 and _left_over(out) == []


def test_the_next_run_clears_away_what_a_killed_one_left_and_nothing_that_is_held(tmp_path):
    """A run that is killed after a scan is complete leaves a lock that nobody asks for again."""
    _, out, (names, other) = finished_dataset(tmp_path, [{"sub": "01"}, {"sub": "02"}])
    left = [
        lock_file(names), out / ".index.html.1-a.part", out / "logs/.crash.txt.1-a.part",
        names.anat_dir / ".a.json.1-b.part", out / "logs" / ".probe-1", out / "logs" / ".probe-1-sub-01_T1w.2a",
    ]  # fmt: skip
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    with claim(other), expectation(tmp_path / "raw", out) as living:
        living.note_start(other.scan)
        before = set(out.rglob("*"))
        clear_left_over(out, [names, other])
        assert before - set(out.rglob("*")) == set(left)


def test_a_run_begins_by_clearing_away(tmp_path):
    raw, out, (names,) = finished_dataset(tmp_path, [{"sub": "01"}])
    lock_file(names).parent.mkdir(exist_ok=True)
    lock_file(names).touch()
    assert main([str(raw), str(out), "participant", "--no-reports"]) == 0
    assert _left_over(out) == []


def _scan_names(tmp_path):
    raw, out = _dataset(tmp_path, "01")
    return output_names(find_scans(raw, Selection())[0][0], out)


def test_a_claim_keeps_others_out_and_ends_with_its_process(tmp_path, monkeypatch, caplog):
    names = _scan_names(tmp_path)
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom bids_hypo.bids import find_scans, output_names\n"
        "from bids_hypo.bids.query import Selection\nfrom bids_hypo.bids.claims import claim\n"
        "names = output_names(find_scans(Path(sys.argv[1]), Selection())[0][0], Path(sys.argv[2]))\n"
        "with claim(names):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(names.scan.dataset_root), str(names.output_dir)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        monkeypatch.setattr(claims_module, "CLAIM_SECONDS", 0.6)
        with claim(names):
            assert "another job has been at this scan" in caplog.text  # after a while we go on beside it
        monkeypatch.setattr(claims_module, "CLAIM_SECONDS", 600.0)
        other.kill()
    with claim(names):
        assert names.crash.with_name(f".{names.scan.name}.lock").exists()
    assert list((names.output_dir / "logs").iterdir()) == []


def test_a_lock_file_that_another_machine_removed_is_made_anew(tmp_path, monkeypatch):
    names = _scan_names(tmp_path)
    original, stale = os.fstat, [True]

    def fstat(handle):
        if stale and stale.pop():
            names.crash.with_name(f".{names.scan.name}.lock").unlink()
            raise OSError(errno.ESTALE, "Stale file handle")
        return original(handle)

    monkeypatch.setattr(held.os, "fstat", fstat)
    with claim(names):
        assert not stale and names.crash.with_name(f".{names.scan.name}.lock").exists()
    assert list((names.output_dir / "logs").iterdir()) == []


def test_without_locks_on_the_file_system_the_work_goes_on(tmp_path, monkeypatch):
    names = _scan_names(tmp_path)

    def none(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(held.fcntl, "flock", none)
    with claim(names), claim(names):
        pass
    assert list((names.output_dir / "logs").iterdir()) == []


def test_the_list_is_written_again_when_another_job_finished_a_scan(tmp_path, monkeypatch):
    raw, out, (first, late) = finished_dataset(tmp_path, [{"sub": "01"}, {"sub": "02"}])
    for path in late.files:
        path.unlink()
    original = reports.write_index

    def while_another_finishes(*arguments):
        original(*arguments)
        if not late.morph.exists():  # after our list was made, before it is checked
            write_finished(late)

    monkeypatch.setattr(reports, "write_index", while_another_finishes)
    write_pages(out, raw, [])
    index = (out / "index.html").read_text()
    assert first.scan.name in index and late.scan.name in index


def test_a_scan_that_vanishes_on_the_way_does_not_stop_the_pages(tmp_path, monkeypatch):
    raw, out, (first, again) = finished_dataset(tmp_path, [{"sub": "01"}, {"sub": "02"}])
    original = reports.scan_rows

    def while_another_begins(output_dir):
        rows = original(output_dir)
        for path in reversed(again.files):
            path.unlink(missing_ok=True)
        return rows

    monkeypatch.setattr(reports, "scan_rows", while_another_begins)
    write_pages(out, raw, [])
    assert reports.figures_missing_or_old(again) is False
    assert first.scan.name in (out / "index.html").read_text()


def _script(capsys, *arguments: object) -> str:
    assert main([str(a) for a in arguments]) == 0
    text = capsys.readouterr().out
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0
    return text


@pytest.mark.parametrize("kind", ["slurm", "pbs", "parallel"])
def test_array_scripts_name_participants_and_pass_options_on(tmp_path, capsys, kind):
    raw, out = _dataset(tmp_path, "01", "02", "03")
    text = _script(
        capsys, raw, out, "participant", "--array-script", kind, "--participant-label", "03", "01", "--omp-nthreads", 3,
        "--mem", 5, "--fast", "--overwrite", "--bids-database-dir", tmp_path / "data base", "-vv",
    )  # fmt: skip
    labels = re.findall(r"^    (\d+)$", text, re.MULTILINE)
    assert labels == ["01", "03"]
    command, after = (next(line for line in text.splitlines() if mark in line) for mark in ("command=(", "#   "))
    for said in (f"'{raw}'", f"'{out}'", "--fast", f"--bids-database-dir '{tmp_path / 'data base'}'", "--verbose"):
        assert said in command and said in after
    assert "--omp-nthreads 3" in command and "--no-reports" in command and "--overwrite" in command
    assert "--array-script" not in text and "--overwrite" not in after
    assert re.search(r"--participant-label 0[13] 0[13]$", after)  # and not the whole dataset
    said = {
        "slurm": ["--array=0-1", "--cpus-per-task=3", "--mem=5120M"],
        "pbs": ["-J 0-1", "select=1:ncpus=3:mem=5120mb"],
        "parallel": ["--jobs 1"],
    }
    assert all(words in text for words in said[kind])
    assert not out.exists()


@pytest.mark.parametrize("kind", ["slurm", "pbs", "parallel"])
def test_a_folder_whose_name_is_a_command_is_not_run(tmp_path, capsys, kind):
    folder = tmp_path / f"a\ntouch {tmp_path.name}-run\n#'$(touch b)"
    raw, out = _dataset(folder, "01")
    text = _script(capsys, raw, out, "participant", "--array-script", kind, "--bids-database-dir", folder / "index")
    assert not [line for line in text.splitlines() if line.startswith("touch")]
    (command,) = (line.strip() for line in text.splitlines() if "command=(" in line)
    check = f"{command}\nprintf '%s\\0' \"${{command[@]}}\""
    done = subprocess.run(["bash"], input=check, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split("\0")[3:5] == [str(raw), str(out)]
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


@pytest.mark.slow
def test_the_body_of_an_array_runs_its_share_and_passes_the_exit_code_on(tmp_path, capsys, fakes):
    raw, out = _dataset(tmp_path, "01", "bad")
    for kind, variable in (("slurm", "SLURM_ARRAY_TASK_ID"), ("pbs", "PBS_ARRAY_INDEX")):
        script = tmp_path / f"{kind}.sh"
        script.write_text(_script(capsys, raw, out / kind, "participant", "--array-script", kind, "--device", "cpu"))
        codes = {
            task: subprocess.run(
                ["bash", script],
                env={**fakes, variable: str(task)},
                cwd="/",
                capture_output=True,
                text=True,
                check=False,
            )
            for task in (0, 1, 2)
        }
        assert [done.returncode for done in codes.values()] == [0, 1, 64], codes
        assert "a bad scan" in codes[1].stderr and "only 2 participants" in codes[2].stderr
        assert {p.name for p in (out / kind).glob("sub-*")} >= {"sub-01"}
        assert not list((out / kind).glob("*.html"))
    # Complete scans are not handed in again, and without anything left there is no script.
    again = _script(capsys, raw, out / "slurm", "participant", "--array-script", "slurm")
    assert re.findall(r"^    (\w+)$", again, re.MULTILINE)[:1] == ["bad"] and "--array=0-0" in again
    only = ["participant", "--array-script", "slurm", "--participant-label", "01"]
    assert main([str(raw), str(out / "slurm"), *only]) == 18
    assert "complete" in capsys.readouterr().err


def test_slurm_needs_its_task_id(tmp_path, capsys):
    raw, out = _dataset(tmp_path, "01")
    (tmp_path / "s.sh").write_text(_script(capsys, raw, out, "participant", "--array-script", "slurm"))
    environment = {k: v for k, v in os.environ.items() if k != "SLURM_ARRAY_TASK_ID"}
    done = subprocess.run(["bash", tmp_path / "s.sh"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "sbatch" in done.stderr and not out.exists()


@pytest.mark.slow
def test_gnu_parallel_runs_all(tmp_path, capsys, fakes):
    if subprocess.run(["bash", "-c", "parallel --version"], capture_output=True, check=False).returncode:
        pytest.skip("GNU parallel is not installed")
    raw, out = _dataset(tmp_path, "01", "02", "bad")
    (tmp_path / "p.sh").write_text(
        _script(capsys, raw, out, "participant", "--array-script", "parallel", "--device", "cpu", "--nprocs", 2)
    )
    done = subprocess.run(["bash", tmp_path / "p.sh"], env=fakes, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert {p.name for p in out.glob("sub-*/anat/*_dseg.nii.gz")} == {
        f"sub-0{n}_space-orig_seg-hypothalamus_dseg.nii.gz" for n in (1, 2)
    }


def test_many_participants_share_tasks(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("bids_hypo.execute.array_script.MAX_TASKS", 2)
    raw, out = _dataset(tmp_path, *(f"0{n}" for n in range(1, 6)))
    text = _script(capsys, raw, out, "participant", "--array-script", "slurm")
    assert "per_task=3" in text and "--array=0-1" in text
    body = re.sub(r"^command=.*$", "command=(echo)", text, flags=re.MULTILINE)
    shares = [
        subprocess.run(
            ["bash"], input=body, env={**os.environ, "SLURM_ARRAY_TASK_ID": str(task)}, capture_output=True, text=True,
            check=True,
        ).stdout.split()[1:]
        for task in (0, 1)
    ]  # fmt: skip
    assert shares == [["01", "02", "03"], ["04", "05"]]


@pytest.mark.parametrize("more", [["--reports-only"], ["--scheduler", "tcp://h:1"]])
def test_what_contradicts_an_array(tmp_path, capsys, more):
    raw, out = _dataset(tmp_path, "01")
    assert main([str(raw), str(out), "participant", "--array-script", "slurm", *more]) == 64
    assert more[0] in capsys.readouterr().err


def test_reports_and_no_reports_contradict(tmp_path, capsys):
    raw, out = _dataset(tmp_path, "01")
    assert main([str(raw), str(out), "participant", "--reports-only", "--no-reports"]) == 64
    assert "--no-reports" in capsys.readouterr().err


def test_preparing_one_folder_from_many_threads(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    raw, out = _dataset(tmp_path, "01")
    begin = time.monotonic() + 0.2

    def prepare(_):
        time.sleep(max(0, begin - time.monotonic()))
        prepare_output(out, raw, command_version="1")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(prepare, range(32)))
    assert len((out / ".bidsignore").read_text().splitlines()) == len(set((out / ".bidsignore").read_text().split()))
    assert not list(out.glob(".*.part"))


def test_a_link_in_place_of_a_lock_is_not_followed(tmp_path):
    raw, out = _dataset(tmp_path, "01")
    (scan,), _ = find_scans(raw, Selection())
    names = output_names(scan, out)
    lock_file(names).parent.mkdir(parents=True)
    for target in (tmp_path / "absent", tmp_path / "theirs"):
        lock_file(names).symlink_to(target)
        with claim(names):
            assert lock_file(names).is_file() and not lock_file(names).is_symlink()
        assert not (tmp_path / "absent").exists()
        (tmp_path / "theirs").write_text("not ours")
    assert (tmp_path / "theirs").read_text() == "not ours"

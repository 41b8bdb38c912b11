"""What a command does around its work: pipes that nobody reads, dry runs, other packages' lines."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import subprocess
import sys

import pytest

from bids_hypo.cli.main import main
from bids_hypo.cli.running import run_command


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "data" / "sub-01" / "anat"
    folder.mkdir(parents=True)
    (folder / "sub-01_T1w.nii.gz").touch()
    (tmp_path / "data" / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.8.0"}')
    return tmp_path / "data"


PRINTS = """
import sys, argparse
from bids_hypo.cli.running import run_command
def work(args):
    {work}
    return 0
sys.exit(run_command(argparse.ArgumentParser(), [], work))
"""


def unread(command: list[str], *, stream: str = "stdout") -> tuple[int, str]:
    """Exit code and the other stream of a command, one stream of which nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: writing}
    with subprocess.Popen(command, text=True, **streams) as process:
        os.close(writing)
        out, err = process.communicate()
    return process.returncode, err if stream == "stdout" else out


@pytest.mark.parametrize("work", ["print('x' * 100_000)", "print('x')", "print('x', flush=True)"])
def test_a_closed_pipe_ends_a_command_quietly(work):
    assert unread([sys.executable, "-c", PRINTS.format(work=work)]) == (141, "")


def test_so_does_a_closed_standard_error():
    work = "print('y'); sys.stderr.write('x'); sys.stderr.flush()"
    assert unread([sys.executable, "-c", PRINTS.format(work=work)], stream="stderr") == (141, "y\n")


def test_help_and_a_dry_run_into_a_closed_pipe(dataset, tmp_path):
    run = [sys.executable, "-m", "bids_hypo", str(dataset), str(tmp_path / "out"), "participant", "--dry-run"]
    assert unread(run) == (141, "")
    assert unread([*run, "--help"])[1] == ""


def test_another_broken_pipe_is_an_error(capsys):
    def work(_):
        raise BrokenPipeError("the scheduler went away")

    assert run_command(argparse.ArgumentParser(), [], work) == 74
    assert "the scheduler went away" in capsys.readouterr().err


def test_a_dry_run_writes_nothing(dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    command = [str(dataset), "out", "participant", "--dry-run", "-w", "work", "--bids-database-dir", "db"]
    assert main(command) == 0
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("verbose", "seen"), [("-v", False), ("-vv", True)])
def test_other_packages_are_heard_with_vv_only(verbose, seen, capsys, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")

    def work(_):
        logging.getLogger("bids_hypo.x").info("ours")
        logging.getLogger("nilearn").warning("a warning of theirs")
        logging.getLogger("nilearn").error("an error of theirs")
        logging.getLogger("bids_hypothetical").info("not ours")
        return 0

    parser = argparse.ArgumentParser()
    parser.add_argument("-v", dest="verbose", action="count", default=0)
    assert run_command(parser, [verbose], work) == 0
    told = capsys.readouterr().err
    assert "INFO: ours" in told and "an error of theirs" in told and "not ours" not in told
    assert ("a warning of theirs" in told) is seen


def test_warnings_of_other_packages_are_not_shown():
    """In a process of its own: pytest catches warnings itself."""
    work = "import warnings; warnings.warn('nearly identical', RuntimeWarning)"
    done = subprocess.run([sys.executable, "-c", PRINTS.format(work=work)], capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_closed_streams_take_no_file_of_ours(tmp_path, closed):
    work = f"""
    import os, subprocess
    with open({str(tmp_path / "result")!r}, 'w') as file:
        print('told'); print('told', file=sys.stderr)
        os.write(2, b'by a library')
        code = subprocess.run([sys.executable, '-c', 'import os; os.write(2, b"by a child")']).returncode
        file.write(f'{{file.fileno() > 2}} {{code}}')"""
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(PRINTS.format(work=work.strip()))} {closed}"
    assert subprocess.run(command, shell=True, check=False, stdout=subprocess.PIPE).returncode == 0
    assert (tmp_path / "result").read_text() == "True 0"


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("output", "options", "code", "words"),
    [
        ("data", [], 73, "is the input dataset"),
        ("data/out", [], 73, "lies inside the input dataset"),
        ("file", [], 73, "file: the folder cannot be made or written, for it is a file"),
        ("other", [], 73, "did not make (GeneratedBy: ['fMRIPrep'])"),
        ("out", ["-w", "{}/file"], 73, "--work-dir {}/file: the folder cannot be made or written, for it is a file"),
        ("out", ["-w", "{}/file/w"], 73, "for {}/file is a file"),
        ("out", ["--bids-database-dir", "{}/file"], 73, "--bids-database-dir {}/file: the folder cannot be made"),
        ("out", ["--derivatives", "{}/none"], 66, "--derivatives {}/none: it does not exist; expected a folder."),
        ("out", ["--derivatives", "{}/data,{}"], 66, "Separate names by spaces, not by commas."),
    ],
)  # fmt: skip
def test_places_that_cannot_be_used_are_told_by_a_dry_run_too(
    dataset, tmp_path, capsys, monkeypatch, dry, output, options, code, words
):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "file").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/dataset_description.json").write_text('{"GeneratedBy": [{"Name": "fMRIPrep"}]}')
    here = [option.replace("{}", str(tmp_path)) for option in options]
    assert main([str(dataset), str(tmp_path / output), "participant", *dry, *here]) == code
    told = capsys.readouterr().err
    assert words.replace("{}", str(tmp_path)) in told
    assert "Errno" not in told


LOGS = """
import sys, argparse, logging
from bids_hypo.cli.running import run_command, say
NAME = "sub-01\\nERROR: all is lost\\x1b[2J"
def work(args):
    say(NAME)
    say(NAME, table=True)
    log = logging.getLogger("bids_hypo")
    log.warning("%s: no such scan", NAME)
    try:
        raise OSError(NAME)
    except OSError:
        log.error("failed", exc_info=True)
    raise OSError(NAME)
sys.exit(run_command(argparse.ArgumentParser(), [], work))
"""


def test_a_name_makes_no_line_of_the_log_and_no_command_to_the_terminal():
    done = subprocess.run([sys.executable, "-c", LOGS], capture_output=True, text=True, check=False)
    assert done.returncode == 74 and "\x1b" not in done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert lines[0] == r"WARNING: sub-01\nERROR: all is lost\x1b[2J: no such scan"
    assert lines[-1] == r"ERROR: sub-01\nERROR: all is lost\x1b[2J"
    assert lines[1] == "ERROR: failed" and all(line.startswith("    ") for line in lines[2:-1]) and len(lines) > 5
    assert done.stdout == "sub-01\\nERROR: all is lost\\x1b[2J\nsub-01\nERROR: all is lost\\x1b[2J\n"

"""Where temporary files go when the usual places cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bids_hypo.cli import scratch
from bids_hypo.cli.scratch import choose_scratch


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """No folder chosen yet; the home can be written; what a test sets is undone."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    for name in ("TMPDIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def no_temporary_folder(monkeypatch):
    def refuse() -> str:
        if tempfile.tempdir:
            return tempfile.tempdir
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", refuse)


def test_the_usual_folder_needs_nothing(tmp_path):
    assert choose_scratch(None, tmp_path / "out") is None
    assert "TMPDIR" not in os.environ
    assert "MPLCONFIGDIR" not in os.environ


def test_a_work_folder_is_made_and_passed_to_children(tmp_path):
    assert choose_scratch(tmp_path / "new" / "work", tmp_path / "out") is None
    code = "import tempfile; print(tempfile.gettempdir())"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == tempfile.gettempdir() == str(tmp_path / "new" / "work")


def test_shared_memory_comes_before_the_output(tmp_path, no_temporary_folder, monkeypatch):
    memory, out = tmp_path / "shm", tmp_path / "out"
    memory.mkdir()
    out.mkdir()
    monkeypatch.setattr(scratch, "SHARED_MEMORY", memory)
    folder = choose_scratch(None, out)
    assert folder.parent == memory
    assert tempfile.gettempdir() == os.environ["TMPDIR"] == os.environ["MPLCONFIGDIR"] == str(folder)


@pytest.mark.parametrize("made", [True, False])
def test_else_the_output_or_where_it_will_be(tmp_path, no_temporary_folder, monkeypatch, made):
    monkeypatch.setattr(scratch, "SHARED_MEMORY", tmp_path / "absent")
    out = tmp_path / "out"
    if made:
        out.mkdir()
    assert choose_scratch(None, out).parent == (out if made else tmp_path)
    assert out.exists() is made


def test_nothing_to_write_to_is_left_to_the_run(tmp_path, no_temporary_folder, monkeypatch):
    monkeypatch.setattr(scratch, "SHARED_MEMORY", tmp_path / "absent")
    assert choose_scratch(None, Path("/proc/nowhere/out")) is None
    assert "TMPDIR" not in os.environ


def test_without_a_home_matplotlib_gets_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "absent"))
    folder = choose_scratch(None, tmp_path / "out")
    assert os.environ["MPLCONFIGDIR"] == str(folder)
    assert folder.parent == Path(tempfile.gettempdir())
    assert "TMPDIR" not in os.environ


def test_asking_twice_makes_one_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "absent"))
    first = choose_scratch(None, tmp_path / "out")
    assert choose_scratch(None, tmp_path / "out") is None
    assert os.environ["MPLCONFIGDIR"] == str(first)


def test_the_folder_goes_with_the_process(tmp_path):
    code = (
        "from pathlib import Path; from bids_hypo.cli.scratch import choose_scratch; "
        f"folder = choose_scratch(None, Path({str(tmp_path)!r})); print(folder, folder.is_dir())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env=os.environ | {"HOME": str(tmp_path / "absent"), "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    folder, existed = done.stdout.split()
    assert existed == "True"
    assert Path(folder).parent == tmp_path
    assert not Path(folder).exists()

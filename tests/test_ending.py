"""Ending at once: what is half done is undone, what is whole stays, and nobody waits for threads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bids_hypo import ending
from tests.conftest import ROOT

PROGRAM = """
import os, signal, sys, threading, time
from pathlib import Path
from bids_hypo import ending
from bids_hypo.image import volume
from bids_hypo.image.volume import write_bytes

folder = Path(sys.argv[1])

def killed(*_):
    os.kill(os.getpid(), signal.{signal})
    time.sleep(600)

def main():
    {main}

with ending.ending_on_signals(lambda number: print("told", number)):
    main()
print("went on")
"""


def _ended(folder: Path, main: str, name: str = "SIGTERM", before: str = "") -> tuple[int, str, list[str]]:
    """Exit status, output, and what lies in the folder after a program was sent a signal in its middle."""
    code = PROGRAM.format(signal=name, main="\n    ".join(main.splitlines()))
    done = subprocess.run(
        ["sh", "-c", f'{before} exec "$0" "$@"', sys.executable, "-c", code, str(folder)],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGHUP", 129)])
def test_a_file_that_is_being_written_leaves_nothing(tmp_path, name, status):
    (tmp_path / "a.json").write_text("before")
    main = "os.fsync = killed\nwrite_bytes(folder / 'a.json', b'after')"
    assert _ended(tmp_path, main, name) == (status, f"told {status - 128}\n", ["a.json"])
    assert (tmp_path / "a.json").read_text() == "before"


def test_a_thread_writes_nothing_after_the_end_has_begun(tmp_path):
    main = """
def late():
    asked.wait()
    write_bytes(folder / "late.json", b"late")
asked = threading.Event()
def undo():
    asked.set()
    time.sleep(0.3)
threading.Thread(target=late).start()
with ending.undone_at_end(undo):
    killed()"""
    assert _ended(tmp_path, main) == (143, "told 15\n", [])


def test_a_block_that_is_one_step_is_done_to_its_end(tmp_path):
    main = """
with ending.unless_ending():
    write_bytes(folder / "table.tsv", b"1")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.3)
    write_bytes(folder / "table.json", b"2")
time.sleep(600)"""
    assert _ended(tmp_path, main) == (143, "told 15\n", ["table.json", "table.tsv"])


def test_temporary_folders_go_and_an_undoing_that_fails_stops_no_other(tmp_path):
    main = """
with ending.temporary_folder(place=folder) as own, ending.undone_at_end(lambda: 1 / 0):
    (own / "file").touch()
    killed()"""
    assert _ended(tmp_path, main) == (143, "told 15\n", [])


def test_a_busy_main_thread_does_not_hold_it_up(tmp_path):
    """A single call into C, in which Python's own handlers would have to wait."""
    main = """
import hashlib
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)"""
    assert _ended(tmp_path, main) == (143, "told 15\n", [])


def test_undoing_that_hangs_is_left(tmp_path):
    main = """
ending.LIMIT_SECONDS = 0.3
with ending.undone_at_end(lambda: time.sleep(600)):
    killed()"""
    assert _ended(tmp_path, main) == (143, "", [])


def test_a_slower_end_may_be_asked_for(tmp_path):
    main = """
asked = threading.Event()
ending.on_signal(asked.set)
os.kill(os.getpid(), signal.SIGTERM)
asked.wait()"""
    assert _ended(tmp_path, main) == (0, "went on\n", [])


def test_a_signal_that_is_ignored_stays_so(tmp_path):
    main = "os.kill(os.getpid(), signal.SIGHUP)\ntime.sleep(0.2)"
    assert _ended(tmp_path, main, before="trap '' HUP;") == (0, "went on\n", [])


def test_a_fork_is_not_responsible_for_what_its_parent_has_half_done(tmp_path):
    main = """
with ending.undone_at_end((folder / "half").unlink):
    (folder / "half").touch()
    child = os.fork()
    if not child:
        ending.end_now(5)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), (folder / "half").exists())"""
    assert _ended(tmp_path, main) == (0, "5 True\nwent on\n", ["half"])


def test_the_handlers_of_the_caller_come_back():
    before = [signal.getsignal(number) for number in ending.SIGNALS]
    with ending.ending_on_signals(lambda _: None):
        assert [signal.getsignal(number) for number in ending.SIGNALS] != before
    assert [signal.getsignal(number) for number in ending.SIGNALS] == before

"""Processes that do one thing at a time: deaths, errors, and the end of the process that started them."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bids_hypo.execute.processes import Died, in_processes
from tests.conftest import ROOT

PROGRAM = """
import os, sys, time
from pathlib import Path
from bids_hypo.ending import ending_on_signals, undone_at_end
from bids_hypo.execute.processes import in_processes

def work(path):
    half = Path(path)
    with undone_at_end(half.unlink):
        half.write_text(str(os.getpid()))
        time.sleep(600)

if __name__ == "__main__":
    with ending_on_signals(lambda number: print("told", number, flush=True)):
        list(in_processes(work, sys.argv[1:], 2))
"""


def _dies_or_answers(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 4:
        os._exit(7)
    if number == 5:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    return number * 10


def _fails(number: int) -> int:
    raise ValueError(f"number {number} is no good")


def _pid(_number: int) -> int:
    return os.getpid()


def test_a_death_costs_its_item_only_and_says_what_it_was():
    found = dict(in_processes(_dies_or_answers, range(8), 2))
    died = {number: answer.how for number, answer in found.items() if isinstance(answer, Died)}
    assert {n: a for n, a in found.items() if n not in died} == {0: 0, 1: 10, 2: 20, 6: 60, 7: 70}
    assert set(died) == {3, 4, 5}
    assert "SIGKILL" in died[3] and "--mem" in died[3]
    assert "exit status 7" in died[4] and "SIGTERM" in died[5]


def test_processes_are_used_again():
    pids = [pid for _, pid in in_processes(_pid, range(6), 2)]
    assert len(set(pids)) <= 2 and os.getpid() not in pids


def test_an_error_is_raised_here():
    with pytest.raises(ValueError, match="number 1 is no good"):
        list(in_processes(_fails, [1], 1))


def _wait_until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("number", "status", "told"),
    [(signal.SIGTERM, 143, "told 15\n"), (signal.SIGINT, 130, "told 2\n"), (signal.SIGKILL, -9, "")],
)
def test_processes_end_with_the_one_that_started_them_and_undo_what_is_half_done(tmp_path, number, status, told):
    (tmp_path / "program.py").write_text(PROGRAM)
    halves = [tmp_path / "half-1", tmp_path / "half-2"]
    command = [sys.executable, tmp_path / "program.py", *map(str, halves)]
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    ) as program:
        try:
            _wait_until(lambda: all(half.exists() and half.read_text() for half in halves))
            pids = [int(half.read_text()) for half in halves]
            program.send_signal(number)
            assert program.wait(60) == status
            if number == signal.SIGKILL:  # they have to notice by themselves
                _wait_until(lambda: not any(map(_lives, pids)))
            assert not any(map(_lives, pids))
            assert not any(half.exists() for half in halves)
            assert program.stdout.read() == told
        finally:
            program.kill()


def _warns(text: str) -> None:
    logging.getLogger("bids_hypo").warning("found %s", text)


def test_a_name_makes_no_line_of_the_log_of_a_process(capfd):
    assert [item for item, _ in in_processes(_warns, ["a\nERROR: forged\x1b[2J"], 1)]
    assert "WARNING: found a\\nERROR: forged\\x1b[2J\n" in capfd.readouterr().err

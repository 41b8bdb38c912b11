"""Only our own lines reach a user's terminal, whatever native code writes to standard error."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("tensorflow")

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
HOLD = "import os, sys, logging\nfrom bids_hypo.models.quiet import native_output_held\n"


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                          env=CLEAN | environment)  # fmt: skip


NOISE = "with native_output_held():\n    os.write(2, b'native noise\\n'); {more}\nprint('after', file=sys.stderr)"


def test_native_lines_are_held_and_ours_after_them_are_not():
    done = run(HOLD + NOISE.format(more="print('python noise', file=sys.stderr)"))
    assert (done.returncode, done.stderr) == (0, "after\n")


def test_they_are_logged_for_those_who_ask():
    done = run(HOLD + "logging.basicConfig(level=10, format='%(levelname)s %(message)s')\n" + NOISE.format(more="pass"))
    assert done.stderr == "DEBUG native noise\nafter\n"
    assert run(HOLD + NOISE.format(more="pass"), TF_CPP_MIN_LOG_LEVEL="0").stderr == "native noise\nafter\n"


def test_they_are_shown_if_the_block_fails():
    done = run(HOLD + NOISE.format(more="raise ImportError('no library')"))
    assert done.returncode == 1
    assert done.stderr.startswith("native noise\n") and "no library" in done.stderr


def test_a_death_in_native_code_is_not_silent():
    done = run(HOLD + NOISE.format(more="os.abort()"))
    assert done.returncode < 0
    assert "Fatal Python error: Aborted" in done.stderr


def test_without_standard_error_nothing_fails():
    done = run("import os; os.close(2)\n" + HOLD + "with native_output_held():\n    print('within')\nprint('after')")
    assert (done.returncode, done.stdout) == (0, "within\nafter\n")


LOADING = """
import sys, logging
if __name__ == "__main__":
    from bids_hypo.models.hardware import configure_device
    from bids_hypo.models.device import DeviceRequest
    print(configure_device(DeviceRequest("auto"), None))
"""


def test_tensorflow_starts_without_a_word():
    done = run(LOADING)
    assert done.stderr == ""
    assert done.stdout.strip() == "cpu" or done.stdout.startswith("gpu")


def test_threads_do_not_lose_the_terminal():
    done = run(
        HOLD + "import threading, time\n@native_output_held()\ndef work(seconds):\n    time.sleep(seconds)\n"
        "threads = [threading.Thread(target=work, args=(s,)) for s in (0.2, 0.4, 0.1)]\n"
        "for t in threads: t.start(); time.sleep(0.05)\n"
        "for t in threads: t.join()\n"
        "print('after', file=sys.stderr)"
    )
    assert (done.returncode, done.stderr) == (0, "after\n")


WORKER = """
import multiprocessing
def work():
    from bids_hypo.models.device import DeviceRequest
    from bids_hypo.models.hardware import configure_device
    configure_device(DeviceRequest("auto"), None)
if __name__ == "__main__":
    worker = multiprocessing.get_context("spawn").Process(target=work)
    worker.start()
    worker.join()
    raise SystemExit(worker.exitcode)
"""


def test_so_it_does_in_worker_processes(tmp_path):
    (tmp_path / "script.py").write_text(WORKER)
    environment = CLEAN | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=False,
                          env=environment)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_everything_is_shown_if_asked_for():
    done = run(LOADING, TF_CPP_MIN_LOG_LEVEL="0")
    assert "oneDNN" in done.stderr or "cuda" in done.stderr.lower()

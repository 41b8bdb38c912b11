"""What a killed server left is deleted by the next one; what a living one has is not."""

import os
import signal
import subprocess
import sys

import pytest

from bids_hypo.gui.leftovers import LOCK, clear_abandoned, make_folder, remove_folder

CHILD = """
import sys, time
from pathlib import Path
from bids_hypo.gui.leftovers import make_folder
folder, lock = make_folder(Path(sys.argv[1]))
(folder / "session-1").mkdir()
(folder / "session-1" / "scan.nii.gz").write_text("private")
print(folder, flush=True)
time.sleep(60)
"""


@pytest.fixture
def server(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.wait()


def test_a_killed_server_is_cleared_up_after_and_a_living_one_left_alone(server, tmp_path):
    folder = tmp_path / server.stdout.readline().strip()
    clear_abandoned(tmp_path)
    assert (folder / "session-1" / "scan.nii.gz").is_file()
    server.send_signal(signal.SIGKILL)
    server.wait()
    clear_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_folders_that_are_not_ours_stay(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / LOCK).touch()
    (tmp_path / "bids_hypo_gui-link").symlink_to("elsewhere")
    (tmp_path / "bids_hypo_gui-no-lock").mkdir()
    (tmp_path / "bids_hypo_gui-file").touch()
    (tmp_path / "bids_hypo_gui-linked-lock").mkdir()
    (tmp_path / "bids_hypo_gui-linked-lock" / LOCK).symlink_to(tmp_path / "elsewhere" / LOCK)
    before = sorted(tmp_path.rglob("*"))
    clear_abandoned(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "bids_hypo_gui-theirs").mkdir()
    (tmp_path / "bids_hypo_gui-theirs" / LOCK).touch()
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    clear_abandoned(tmp_path)
    assert (tmp_path / "bids_hypo_gui-theirs").is_dir()
    monkeypatch.undo()
    clear_abandoned(tmp_path)
    assert not (tmp_path / "bids_hypo_gui-theirs").exists()


def test_a_folder_is_private_and_goes_as_a_whole(tmp_path):
    folder, lock = make_folder(tmp_path)
    assert folder.stat().st_mode & 0o777 == 0o700 and list(tmp_path.iterdir()) == [folder]
    (folder / "a").mkdir()
    (folder / "a" / "b").touch()
    (folder / "c").symlink_to(tmp_path)
    remove_folder(folder)
    os.close(lock)
    assert list(tmp_path.iterdir()) == []

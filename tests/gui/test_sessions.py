"""What belongs to a page goes with it, and only that."""

import hashlib
import os
import stat
from pathlib import Path

import pytest

from bids_hypo.errors import UsageError
from bids_hypo.gui import sessions as module
from bids_hypo.gui.options import Limits
from bids_hypo.gui.sessions import Sessions


def _stored(root: Path, name: str, content: str = "x") -> Path:
    path = root / hashlib.sha256(content.encode()).hexdigest() / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    return path


def test_folders_are_private_and_cannot_be_guessed(sessions):
    one, two = sessions.get("one"), sessions.get("two")
    assert one is sessions.get("one") and one.folder != two.folder
    assert stat.S_IMODE(one.folder.stat().st_mode) == 0o700
    assert "one" not in one.folder.name and len(one.folder.name) > 32


def test_the_end_deletes_folder_and_uploads(sessions):
    upload = _stored(sessions.root, "a.nii.gz")
    session = sessions.hold("one", [upload])
    (session.new_folder("job") / "mask.nii.gz").write_text("m")
    sessions.end("one")
    assert list(sessions.root.iterdir()) == []
    sessions.end("one")  # twice is no harm


def test_an_upload_that_another_page_holds_stays(sessions):
    shared = _stored(sessions.root, "a.nii.gz")
    other_name = _stored(sessions.root, "b.nii.gz")
    sessions.hold("one", [shared])
    sessions.hold("two", [shared, other_name])
    sessions.end("one")
    assert shared.is_file()
    sessions.end("two")
    assert not shared.exists() and not shared.parent.exists()


def test_the_same_file_given_again_is_not_deleted_with_the_page_before(sessions):
    upload = _stored(sessions.root, "a.nii.gz")
    sessions.hold("before", [upload])
    os.utime(upload, ns=(1, 1))  # the web server has stored it anew for a page that has not told yet
    sessions.end("before")
    assert upload.is_file()


@pytest.mark.parametrize("order", ["one two", "two one"])
def test_the_same_file_of_two_pages_goes_with_the_last(sessions, order):
    upload = _stored(sessions.root, "a.nii.gz")
    sessions.hold("one", [upload])
    os.utime(upload, ns=(1, 1))  # stored anew for the other page
    sessions.hold("two", [upload])
    first, last = order.split()
    sessions.end(first)
    assert upload.is_file()
    sessions.end(last)
    assert not upload.exists()


def test_uploads_that_no_page_told_of_are_swept_when_old(sessions):
    held, old, fresh = (_stored(sessions.root, "a.nii.gz", content) for content in ("held", "old", "fresh"))
    broken_off = sessions.root / "tmpabc"
    broken_off.touch()
    for path in (held, old, broken_off):
        os.utime(path, ns=(1, 1))
    sessions.hold("one", [held])
    sessions.sweep()
    assert held.is_file() and fresh.is_file() and not old.parent.exists() and not broken_off.exists()


def test_a_running_job_may_finish_and_leaves_nothing(sessions):
    session = sessions.get("one")
    sessions.begin(session)
    sessions.end("one")
    assert session.ended
    session.folder.mkdir()
    (session.folder / "late.nii.gz").write_text("x")
    sessions.finish(session)
    assert not session.folder.exists()


def test_only_idle_sessions_are_swept(sessions):
    idle, busy = sessions.get("idle"), sessions.get("busy")
    sessions.begin(busy)
    sessions.sweep(older_than_s=-1)
    assert not idle.folder.exists() and busy.folder.exists()


def test_closing_deletes_everything(sessions):
    sessions.get("one")
    (sessions.root / "examples").mkdir()
    sessions.close()
    assert not sessions.root.exists()


def test_there_are_so_many_sessions_and_idle_ones_make_way(tmp_path, monkeypatch):
    few = Sessions(tmp_path, Limits(sessions=2))
    one, two = few.get("one"), few.get("two")
    assert few.get("one") is one
    with pytest.raises(UsageError, match="at most 2 with files"):
        few.get("three")
    monkeypatch.setattr(module, "MAKE_WAY_SECONDS", 0)
    few.begin(two)
    few.get("three")
    assert one.ended and not two.ended  # a job runs
    assert few.result("nobody", "x") is None and "nobody" not in few._sessions


def test_room_counts_each_file_once(tmp_path):
    some = Sessions(tmp_path, Limits(total_mb=2))
    session = some.get("one")
    upload = _stored(tmp_path, "a.nii.gz", "x" * 600_000)
    os.link(upload, session.folder / "b.nii.gz")
    assert some.room() == 1_400_000
    some.check_room(1_400_000)
    with pytest.raises(UsageError, match="2 MB"):
        some.check_room(1_400_001)
    with some.receiving(1_000_000), pytest.raises(UsageError), some.receiving(500_000):
        pass
    some.check_room(1_400_000)

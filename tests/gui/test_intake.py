"""Uploads are taken while there is room, and nothing else is large."""

import asyncio

import pytest

from bids_hypo.gui import intake
from bids_hypo.gui.intake import Intake
from bids_hypo.gui.options import Limits
from bids_hypo.gui.sessions import Sessions
from tests.gui.asgi import ask

FORM = ("Content-Type", "multipart/form-data; boundary=x")


@pytest.fixture
def small(tmp_path):
    made = Sessions(tmp_path / "root", Limits(total_mb=10))
    made.root.mkdir()
    return made


def _post(sessions, path, size, *headers, **more):
    length = [] if size is None else [("Content-Length", str(size))]
    return ask(lambda app: Intake(app, sessions), path, method="POST", headers=[*length, *headers], **more)


@pytest.mark.parametrize("path", ["/gradio_api/upload", "/gradio_api/upload/", "/gradio_api/component_server"])
def test_there_is_room_or_a_sentence(small, path):
    assert _post(small, path, 9_000_000, FORM).reached
    (small.root / "upload.nii").write_bytes(bytes(2_000_000))
    answer = _post(small, path, 9_000_000, FORM)
    assert (answer.reached, answer.status) == (False, 413)
    assert "10 MB" in answer.body and "--max-total-mb" in answer.body
    assert _post(small, path, 7_000_000, FORM).reached


def test_room_is_kept_while_an_upload_comes_in_and_given_back(small):
    other = []

    async def reply(scope, receive, send):
        other.append(await asyncio.to_thread(_post, small, "/gradio_api/upload", 6_000_000))
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        _post(small, "/gradio_api/upload", 6_000_000, reply=reply)
    assert other[0].status == 413 and small.room() == 10_000_000


def test_an_upload_that_stands_still_is_broken_off(small, monkeypatch):
    monkeypatch.setattr(intake, "STALLED_S", 0.01)
    got = []

    async def never():
        await asyncio.sleep(60)

    async def run():
        got.append(await intake._patient(never)())

    asyncio.run(run())
    assert got == [{"type": "http.disconnect"}]


def test_the_length_has_to_be_told(small):
    for headers in ([("Transfer-Encoding", "chunked")], [("Content-Length", "-1")], [("Content-Length", "x")]):
        assert _post(small, "/gradio_api/upload", None, *headers).status == 411


def test_what_is_no_upload_is_small(small):
    answer = _post(small, "/gradio_api/queue/join", 5_000_001, ("Content-Type", "application/json"))
    assert answer.status == 413 and "5 MB" in answer.body
    assert _post(small, "/gradio_api/queue/join", 1000).reached
    (small.root / "upload.nii").write_bytes(bytes(10_000_001))
    assert _post(small, "/login", 300, FORM).reached  # also where nothing is left
    assert ask(lambda app: Intake(app, small)).reached

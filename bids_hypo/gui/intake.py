"""What may be sent to the server: as much as there is room for, and files only where files are taken."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import Any

from bids_hypo.errors import UsageError
from bids_hypo.gui.door import App, Message, Receive, Send, refuse
from bids_hypo.gui.options import MB
from bids_hypo.gui.sessions import Sessions
from bids_hypo.gui.texts import text

UPLOAD = "/upload"
LOGIN = "/login"
FIELDS_MB = 5
"""Largest request that is no upload: what a page says of its fields is kept in memory."""
STALLED_S = 120.0
LENGTH_REQUIRED, TOO_LARGE = 411, 413


class Intake:
    """ASGI middleware that reserves room for an upload before any of it is read.

    Parameters
    ----------
    app : callable
    sessions : Sessions
    """

    def __init__(self, app: App, sessions: Sessions) -> None:
        self.app = app
        self.sessions = sessions

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or say why not."""
        if scope["type"] != "http" or not _has_body(scope):
            await self.app(scope, receive, send)
            return
        size = _size(scope)
        if size is None:
            await refuse(send, LENGTH_REQUIRED, text("error.no_length"))
            return
        with ExitStack() as room:
            try:
                if _brings_files(scope):
                    await asyncio.to_thread(room.enter_context, self.sessions.receiving(size))
                elif size > FIELDS_MB * MB:
                    raise UsageError(text("error.fields", limit=FIELDS_MB))
            except UsageError as error:
                await _read_away(receive)
                await refuse(send, TOO_LARGE, str(error))
                return
            await self.app(scope, _patient(receive), send)


def _patient(receive: Receive) -> Receive:
    """Break off an upload that stands still, for its room is wanted."""
    coming = True

    async def wait() -> Message:
        nonlocal coming
        if not coming:
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), STALLED_S)
        except TimeoutError:
            return {"type": "http.disconnect"}
        coming = bool(message.get("more_body"))
        return message

    return wait


def _header(scope: Message, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name), None)


def _has_body(scope: Message) -> bool:
    return _header(scope, b"transfer-encoding") is not None or _header(scope, b"content-length") not in (None, "0")


def _size(scope: Message) -> int | None:
    given = _header(scope, b"content-length") or ""
    chunked = _header(scope, b"transfer-encoding") is not None
    return int(given) if given.isascii() and given.isdigit() and not chunked else None


def _brings_files(scope: Message) -> bool:
    path = str(scope["path"]).rstrip("/")
    with_files = (_header(scope, b"content-type") or "").lower().startswith("multipart/")
    return path.endswith(UPLOAD) or (with_files and path != LOGIN)


async def _read_away(receive: Receive) -> None:
    """Read to the end: a browser that is still sending when it is answered shows a broken connection in place of it."""
    message: dict[str, Any] | Message = {"more_body": True}
    while message.get("more_body") and message.get("type") != "http.disconnect":
        message = await receive()

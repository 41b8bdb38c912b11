"""Starts the page, keeps it private, and deletes everything when it stops."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from bids_hypo.ending import on_signal
from bids_hypo.errors import CannotCreateError, ExitCode, UsageError
from bids_hypo.gui.options import MB, GuiOptions

logger = logging.getLogger(__name__)

STOP_SECONDS = 5.0  # for what is being done; Docker kills after ten

# Read by Gradio and its Hugging Face client when they are imported.
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SSR_MODE": "False",
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_SHARE": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
# The browser itself refuses whatever does not come from this server.
HEADERS = {
    b"content-security-policy": (
        b"default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'self'; form-action 'self'; "
        b"base-uri 'self'; object-src 'none'"
    ),
    b"referrer-policy": b"same-origin",
    b"x-content-type-options": b"nosniff",
}
_Message = MutableMapping[str, Any]
_Send = Callable[[_Message], Awaitable[None]]
_Receive = Callable[[], Awaitable[_Message]]
_App = Callable[[_Message, _Receive, _Send], Awaitable[None]]


class PrivateHeaders:
    """ASGI middleware that adds `HEADERS` to every answer."""

    def __init__(self, app: _App) -> None:
        self.app = app

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Pass a request on and add to its answer."""

        async def add(message: _Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(k, v) for k, v in message.get("headers", []) if k.lower() not in HEADERS]
                message["headers"] = [*kept, *HEADERS.items()]
            await send(message)

        await self.app(scope, receive, add if scope["type"] == "http" else send)


def serve(options: GuiOptions, *, started: Callable[[str], None]) -> None:
    """Start the page and stay until interrupted; then everything is deleted.

    Parameters
    ----------
    options : GuiOptions
    started : callable
        Takes the address once the page can be opened.

    Raises
    ------
    UsageError
        If Gradio is not installed.
    CannotCreateError
        If the port is taken or there is no place for temporary files.
    """
    try:
        root = Path(tempfile.mkdtemp(prefix="bids_hypo_gui-", dir=options.work_dir))
    except OSError as error:
        raise CannotCreateError(f"{options.work_dir}: no place for temporary files ({error}).") from error
    os.environ.update(QUIET)
    os.environ["GRADIO_TEMP_DIR"] = str(root)
    try:
        import gradio  # noqa: F401 - after the settings above
    except ImportError as error:
        root.rmdir()
        raise UsageError(f"the page needs Gradio ({error}): pip install 'bids_hypo[gui]'.") from error
    from bids_hypo.gui.jobs import Runner
    from bids_hypo.gui.sessions import Sessions

    sessions = Sessions(root)
    runner = Runner(options, sessions)
    close: Callable[[], None] | None = None
    try:
        close = _launch(runner, options, started)
        _stay()
    finally:
        sessions.close()  # running jobs stop after their scan
        if close is not None:
            close()
        over = runner.close(STOP_SECONDS)
        sessions.close()  # what they wrote meanwhile
        if not over:  # no thread can be broken off, and none may write again
            logging.shutdown()
            os._exit(ExitCode.OK)


def _launch(runner: Any, options: GuiOptions, started: Callable[[str], None]) -> Callable[[], None]:
    """Open the page; returns what closes it."""
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from bids_hypo.gui.app import build, theme
    from bids_hypo.gui.html import CSS

    page = build(runner)
    named = Middleware(TrustedHostMiddleware, allowed_hosts=options.host_names, www_redirect=False)
    try:
        _, address, _ = page.launch(
            server_name=options.host, server_port=options.port, auth=options.auth, share=False, inbrowser=False,
            prevent_thread_lock=True, quiet=True, max_file_size=options.limits.upload_mb * MB, footer_links=[],
            run_history=False, enable_monitoring=False, pwa=False, mcp_server=False, ssr_mode=False, strict_cors=True,
            app_kwargs={"middleware": [Middleware(PrivateHeaders), named], "docs_url": None, "redoc_url": None},
            theme=theme(), css=CSS,
        )  # fmt: skip
    except OSError as error:
        raise CannotCreateError(
            f"{options.host}:{options.port}: cannot listen there ({error}). Is the page running already? Try --port."
        ) from error
    if not options.local and options.auth is None:
        logger.warning("anyone who reaches %s can use this page: give --auth, or listen on 127.0.0.1", options.host)
    runner.warm_up()
    runner.sessions.sweep_regularly()
    started(address)

    return lambda: page.close(verbose=False)


def _stay() -> None:
    """Wait until the program is interrupted."""
    asked = threading.Event()
    on_signal(asked.set)
    asked.wait()

"""Starts the page, keeps it private, and deletes everything when it stops."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bids_hypo.ending import on_signal
from bids_hypo.errors import CannotCreateError, ExitCode, UsageError
from bids_hypo.gui.door import Door
from bids_hypo.gui.leftovers import clear_abandoned, make_folder, remove_folder
from bids_hypo.gui.login import Login
from bids_hypo.gui.options import MB, GuiOptions
from bids_hypo.gui.texts import text

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
    parent = options.work_dir or Path(tempfile.gettempdir())
    clear_abandoned(parent)
    try:
        root, _ = make_folder(parent)  # locked until this process ends
    except OSError as error:
        raise CannotCreateError(f"{parent}: no place for temporary files ({error}).") from error
    os.environ.update(QUIET)
    os.environ["GRADIO_TEMP_DIR"] = str(root)
    try:
        import gradio  # noqa: F401 - after the settings above
    except ImportError as error:
        remove_folder(root)
        raise UsageError(f"the page needs Gradio ({error}): pip install 'bids_hypo[gui]'.") from error
    from bids_hypo.gui.jobs import Runner
    from bids_hypo.gui.sessions import Sessions

    sessions = Sessions(root, options.limits)
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
    from bids_hypo.gui.app import build, theme
    from bids_hypo.gui.html import CSS
    from bids_hypo.gui.intake import Intake

    @asynccontextmanager
    async def guarded(app: Any) -> AsyncIterator[None]:
        # Outside of all that Gradio adds itself: it would answer preflight requests before anyone has looked at them.
        app.middleware_stack = Door(Intake(app.middleware_stack, runner.sessions), options)
        yield

    page = build(runner)
    login = None if options.auth is None else Login(*options.auth).check
    message = None if login is None else text("page.login")
    try:
        _, address, _ = page.launch(
            server_name=f"[{options.host}]" if ":" in options.host else options.host, server_port=options.port,
            auth=login, auth_message=message, share=False, inbrowser=False, prevent_thread_lock=True, quiet=True,
            footer_links=[], max_file_size=options.limits.upload_mb * MB, run_history=False, enable_monitoring=False,
            pwa=False, mcp_server=False, ssr_mode=False, strict_cors=True,
            app_kwargs={"lifespan": guarded, "docs_url": None, "redoc_url": None},
            theme=theme(), css=CSS,
        )  # fmt: skip
    except OSError as error:
        raise CannotCreateError(
            f"{options.host}:{options.port}: cannot listen there ({error}). Is the page running already? Try --port."
        ) from error
    if not options.only_here and options.auth is None:
        logger.warning("anyone who reaches this page can use it: give --auth, or let only this computer reach it")
    started(address)  # first: what is printed while TensorFlow is imported gets lost
    runner.warm_up()
    runner.sessions.sweep_regularly()
    return lambda: page.close(verbose=False)


def _stay() -> None:
    """Wait until the program is interrupted."""
    asked = threading.Event()
    on_signal(asked.set)
    asked.wait()

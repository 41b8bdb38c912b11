"""What the tabs share: how their events run, whose session they belong to, the choice of structures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from bids_hypo.errors import BidsHypoError
from bids_hypo.gui import html
from bids_hypo.gui.jobs import Runner
from bids_hypo.gui.sessions import Session
from bids_hypo.gui.texts import text
from bids_hypo.structures import DEFAULT_STRUCTURES

ZIP_NAME = "bids_hypo_results.zip"
JOB: dict[str, Any] = {
    "concurrency_id": "job", "concurrency_limit": 1, "api_visibility": "private", "show_progress": "minimal",
}  # fmt: skip
LIGHT: dict[str, Any] = {
    "queue": False, "api_visibility": "private", "show_progress": "hidden", "trigger_mode": "always_last",
}  # fmt: skip


def session_of(runner: Runner, request: gr.Request, files: Sequence[str] = ()) -> Session | str:
    """The session of a page, which holds the files from now on; a piece of the page if it can have none."""
    try:
        return runner.sessions.hold(str(request.session_hash), [Path(file) for file in files])
    except BidsHypoError as error:
        return html.alert([str(error)])


def note_uploads(runner: Runner, request: gr.Request, files: Sequence[str]) -> Any:
    """Note whose uploads files are, so that they are deleted with the session; a status changes if that fails."""
    session = session_of(runner, request, files)
    return session if isinstance(session, str) else gr.skip()


def structure_choice(runner: Runner, elem_id: str) -> gr.CheckboxGroup:
    """What to measure, where there is more than one structure."""
    choices = [(bundle.structure.title, name) for name, bundle in runner.structures().items() if bundle.structure]
    label = text("single.structures")
    return gr.CheckboxGroup(
        choices, value=list(DEFAULT_STRUCTURES), label=label, elem_id=elem_id, visible=len(choices) > 1
    )

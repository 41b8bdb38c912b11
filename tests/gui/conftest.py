"""What the tests of the page share."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from bids_hypo.gui.sessions import Sessions
from tests.report.conftest import browser  # noqa: F401 - the headless Chromium of the reports' tests


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    """Sessions in a folder of their own."""
    made = Sessions(tmp_path / "root")
    made.root.mkdir()
    yield made
    made.close()


@pytest.fixture(scope="session")
def gradio() -> None:
    """Skip where Gradio is missing."""
    if importlib.util.find_spec("gradio") is None:
        pytest.skip("Gradio is not installed (pip install 'bids_hypo[gui]')")

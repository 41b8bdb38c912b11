"""What the first tab shows when something is missing."""

import pytest

from bids_hypo.gui.jobs import Runner
from bids_hypo.gui.options import GuiOptions

pytestmark = pytest.mark.usefixtures("gradio")


def test_results_are_shown_when_the_download_could_not_be_packed(sessions, tmp_path):
    import gradio as gr

    from bids_hypo.gui.tab_single import SingleTab

    session = sessions.get("one")
    session.results["sub-1_T1w"] = (None, tmp_path)
    runner = Runner(GuiOptions(), sessions)
    with gr.Blocks():
        tab = SingleTab(runner)
        shown = tab._finished(session, ["No space left."], tmp_path / "none.zip")
    runner.close()
    assert "No space left." in shown[tab.status] and shown[tab.found].visible
    assert shown[tab.download].value is None

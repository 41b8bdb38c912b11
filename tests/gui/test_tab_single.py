"""What the first tab shows when something is missing."""

from dataclasses import replace

import pytest

from bids_hypo.gui.jobs import Runner
from bids_hypo.gui.options import GuiOptions
from bids_hypo.gui.uploads import Upload

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


def test_a_file_of_a_kind_that_nothing_chosen_is_measured_on_is_told(sessions, tmp_path):
    """Its participant has no scan, so no result carries its name."""
    import gradio as gr

    from bids_hypo.gui.tab_batch import WAITING, BatchTab, Row

    rows = [Row(Upload("a.nii", tmp_path / "sub-a_T1w.nii"), "done"),
            Row(Upload("b.nii", tmp_path / "sub-b_FLAIR.nii"), WAITING)]  # fmt: skip
    runner = Runner(GuiOptions(), sessions)
    with gr.Blocks():
        tab = BatchTab(runner)
        shown = tab._finished(rows, [], tmp_path)
    runner.close()
    assert rows[1].status == "failed" and "b.nii: its name says that it is FLAIR" in shown[tab.status]


def test_the_kinds_of_image_are_those_of_the_bundles(sessions, monkeypatch):
    runner = Runner(GuiOptions(), sessions)
    known = runner.structures
    assert runner.suffixes[0] == "T1w" and "angio" not in runner.suffixes
    (bundle,) = [known["hypothalamus"]]
    monkeypatch.setattr(runner, "structures", {**known, "other": replace(bundle, suffixes=("angio",))})
    assert {"T1w", "angio"} <= set(runner.suffixes)
    runner.close()

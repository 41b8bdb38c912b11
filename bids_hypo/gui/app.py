"""The page as a whole: what is on it, and what happens when it is closed."""

from __future__ import annotations

import gradio as gr

from bids_hypo import __version__
from bids_hypo.gui import html
from bids_hypo.gui.jobs import Runner
from bids_hypo.gui.tab_batch import BatchTab
from bids_hypo.gui.tab_group import GroupTab
from bids_hypo.gui.tab_single import SingleTab
from bids_hypo.gui.texts import text


def theme() -> gr.themes.Base:
    """Gradio's default look with the fonts of the reader's system: nothing is fetched for it."""
    return gr.themes.Default(
        primary_hue="blue",
        font=["system-ui", "Segoe UI", "Helvetica Neue", "Arial", "sans-serif"],
        font_mono=["ui-monospace", "Consolas", "monospace"],
    ).set(  # contrasts of 4.5 and more
        body_text_color_subdued="*neutral_600", block_info_text_color="*neutral_600",
        body_text_color_subdued_dark="*neutral_300", block_info_text_color_dark="*neutral_300",
        button_primary_background_fill="*primary_700", button_primary_background_fill_hover="*primary_800",
    )  # fmt: skip


def build(runner: Runner) -> gr.Blocks:
    """Lay out the page.

    Parameters
    ----------
    runner : Runner

    Returns
    -------
    gradio.Blocks
        Not started yet; see `bids_hypo.gui.server`.
    """
    with gr.Blocks(title=text("page.title"), analytics_enabled=False) as page:
        gr.Markdown(text("page.intro_md"))
        notice, privacy = html.escape(text("page.notice")), html.escape(text("page.privacy"))
        gr.HTML(f'<div class="notice" role="note"><p><strong>{notice}</strong></p><p>{privacy}</p></div>')
        with gr.Tabs():
            with gr.Tab(text("single.tab"), id="single"):
                SingleTab(runner)
            with gr.Tab(text("batch.tab"), id="batch"):
                BatchTab(runner)
            with gr.Tab(text("group.tab"), id="group"):
                GroupTab(runner)
        gr.HTML(f'<p class="fine">{html.escape(text("page.version", version=__version__))}</p>')

        def forget(request: gr.Request) -> None:
            runner.sessions.end(str(request.session_hash))

        page.unload(forget)
    limit = runner.options.limits.waiting
    return page.queue(max_size=limit, default_concurrency_limit=1)

"""Third tab: groups compared from a table of volumes and participants.tsv."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from bids_hypo.bids.ensembles import ENSEMBLE
from bids_hypo.bids.people import group_names
from bids_hypo.bids.tsv import read_table
from bids_hypo.errors import BidsHypoError
from bids_hypo.gui import html, results
from bids_hypo.gui.common import JOB, LIGHT, note_uploads, session_of
from bids_hypo.gui.grouping import make_study
from bids_hypo.gui.jobs import JobFailed, Runner, Stage, Tell
from bids_hypo.gui.texts import text
from bids_hypo.gui.uploads import in_words
from bids_hypo.workflow.cohort import usual_covariates
from bids_hypo.workflow.group import GroupResult, run_group
from bids_hypo.workflow.group_options import GroupOptions

GROUP_ZIP = "bids_hypo_group.zip"
GROUP_FILES = ("group_*", "figures")
IMAGE_CHOICES = ["T1w", "FLAIR", "T2w", "R1map", "T1map", "Chimap", ENSEMBLE]
_MAX_LEVELS = 12


class GroupTab:
    """The components of the tab and what they do.

    Parameters
    ----------
    runner : Runner
    """

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        gr.Markdown(text("group.intro"))
        with gr.Row():
            self.tables = gr.File(label=text("group.tables"), file_count="multiple", elem_id="group-tables", height=140)
            self.participants = gr.File(label=text("group.participants"), elem_id="group-participants", height=140)
        with gr.Row():
            self.column = gr.Dropdown([], label=text("group.column"), elem_id="group-column")
            self.control = gr.Dropdown([], label=text("group.control"), elem_id="group-control")
            self.cases = gr.Dropdown([], label=text("group.cases"), multiselect=True, elem_id="group-cases")
        with gr.Row():
            self.covariates = gr.Dropdown(
                [], label=text("group.covariates"), multiselect=True, elem_id="group-covariates"
            )
            self.scores = gr.Dropdown([], label=text("group.scores"), multiselect=True, elem_id="group-scores")
            self.images = gr.Dropdown(
                label=text("group.images"), multiselect=True, allow_custom_value=True, elem_id="group-images",
                choices=IMAGE_CHOICES,
            )  # fmt: skip
            self.worsened = gr.Dropdown([], label=text("group.worsened"), elem_id="group-worsened")
            self.exclude = gr.Checkbox(False, label=text("group.exclude"), elem_id="group-exclude")
        self.start = gr.Button(text("group.start"), variant="primary", elem_id="group-start")
        self.status = gr.HTML(elem_id="group-status")
        with gr.Column(visible=False) as self.found:
            self.summary = gr.HTML(elem_id="group-summary")
            self.download = gr.DownloadButton(text("group.report"), elem_id="group-download")
            self.page = gr.HTML(elem_id="group-page")
        self._connect()

    def _connect(self) -> None:
        choices = [self.status, self.column, self.covariates, self.scores, self.worsened]
        levels = [self.control, self.cases]
        self.participants.upload(self.columns, self.participants, choices, **LIGHT).then(
            self.levels, [self.participants, self.column], levels, **LIGHT
        )
        self.column.input(self.levels, [self.participants, self.column], levels, **LIGHT)
        self.tables.upload(self.noted, self.tables, self.status, **LIGHT)
        inputs = [self.tables, self.participants, self.column, self.control, self.cases, self.covariates, self.scores,
                  self.images, self.worsened, self.exclude]  # fmt: skip
        outputs = [self.status, self.found, self.summary, self.download, self.page]
        self.start.click(self.run, inputs, outputs, show_progress_on=[self.status], **JOB)

    def noted(self, files: list[str] | None, request: gr.Request) -> Any:
        """Note whose uploads the files are."""
        return note_uploads(self.runner, request, files or [])

    def columns(self, file: str | None, request: gr.Request) -> list:
        """Offer the columns of participants.tsv, those chosen that the command line would choose."""
        session = session_of(self.runner, request, [file] if file else [])
        if isinstance(session, str):
            return [session, *[gr.skip()] * 4]
        try:
            table = read_table(Path(str(file)), ("participant_id",))
        except BidsHypoError as error:
            said = html.alert([in_words(error, {Path(str(file)): Path(str(file)).name})])
            return [said, *[gr.Dropdown(choices=[], value=None)] * 4]
        names = [str(name) for name in table.columns if name != "participant_id"]
        group = next((n for n in names if n == "group"), names[0] if names else None)
        return ["", gr.Dropdown(choices=names, value=group), gr.Dropdown(choices=names, value=usual_covariates(names)),
                gr.Dropdown(choices=names, value=[]), gr.Dropdown(choices=names, value=None)]  # fmt: skip

    def levels(self, file: str | None, column: str | None) -> list:
        """Offer the groups that a column names; which is the control is left to the core unless chosen."""
        try:
            names = group_names(Path(str(file)), str(column))[:_MAX_LEVELS]
        except BidsHypoError:
            return [gr.Dropdown(choices=[], value=None), gr.Dropdown(choices=[], value=[])]
        return [gr.Dropdown(choices=names, value=None), gr.Dropdown(choices=names, value=[])]

    def run(  # noqa: PLR0913 (one argument for each input of the page)
        self, tables: list[str] | None, participants: str | None, column: str | None, control: str | None,
        cases: list[str], covariates: list[str], scores: list[str], images: list[str], worsened: str | None,
        exclude: bool, request: gr.Request,
    ) -> Iterator[dict]:  # fmt: skip
        """Compare the groups; yields the page's changes."""
        given = [*(tables or []), *([participants] if participants else [])]
        session = session_of(self.runner, request, given)
        if isinstance(session, str):
            yield {self.status: session}
            return
        if not tables or participants is None:
            yield {self.status: html.alert([text("error.no_participants" if tables else "error.no_table")])}
            return
        work = session.new_folder("group")
        found: list[GroupResult] = []

        def job(_: Tell) -> None:
            raw, out = make_study([Path(t) for t in tables], Path(participants), work, self.runner.limits)
            options = GroupOptions(
                raw, out, group_column=column or "group", cases=tuple(cases or ()), control=control or None,
                covariates=tuple(covariates or ()), scores=tuple(scores or ()),
                images=tuple(images or ()), worsened=worsened or None, exclude_flagged=exclude,
            )  # fmt: skip
            found.append(run_group(options))
            results.zip_folder(out, work / GROUP_ZIP, only=GROUP_FILES)

        yield {self.status: html.doing(Stage("starting"), 0), self.found: gr.Column(visible=False)}
        shown = {work / "study": "", work / "results": "", **{path: path.name for path in map(Path, given)}}
        for event in self.runner.follow(session, job):
            if isinstance(event, JobFailed):
                yield {self.status: html.alert([in_words(Exception(event.message), shown)])}
                return
        if found:
            yield self._finished(found[0], work / GROUP_ZIP)

    def _finished(self, result: GroupResult, packed: Path) -> dict:
        problems = html.alert(list(result.problems)) if result.problems else ""
        remarks = "".join(f"<p>{html.escape(remark)}</p>" for remark in result.remarks)
        if remarks:
            remarks = f'<div class="notice"><strong>{html.escape(text("group.remarks"))}</strong>{remarks}</div>'
        page = result.report.read_text("utf-8")
        return {
            self.status: problems + html.good(" ".join(result.sentences)), self.found: gr.Column(visible=True),
            self.summary: html.counts(result.counts) + remarks, self.download: gr.DownloadButton(value=str(packed)),
            self.page: html.report_frame(page, text("group.page")),
        }  # fmt: skip

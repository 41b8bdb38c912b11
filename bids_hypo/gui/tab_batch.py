"""Second tab: several scans, a table that fills as they finish, and its downloads."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from bids_hypo.bids.entities import split_name
from bids_hypo.bids.names import OutputNames
from bids_hypo.errors import BidsHypoError
from bids_hypo.gui import html, results
from bids_hypo.gui.common import JOB, LIGHT, ZIP_NAME, note_uploads, session_of, structure_choice
from bids_hypo.gui.jobs import JobFailed, Runner, ScanDone, Stage, Tell
from bids_hypo.gui.sessions import Session
from bids_hypo.gui.texts import all_texts, text
from bids_hypo.gui.uploads import Upload, in_words, receive
from bids_hypo.report.flag_texts import describe_flags
from bids_hypo.structures import WHOLE
from bids_hypo.workflow.result import Status

TABLE_NAME = "volumes.tsv"
WAITING = "waiting"
_HEAD = ("file", "participant", "session", "status")


@dataclass
class Row:
    """A line of the table: the file, and what became of it."""

    upload: Upload
    status: str
    names: OutputNames | None = None
    error: str = ""


class BatchTab:
    """The components of the tab and what they do.

    Parameters
    ----------
    runner : Runner
    """

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        gr.Markdown(text("batch.intro"))
        label = text("batch.files", limit=runner.options.limits.upload_mb)
        self.files = gr.File(label=label, file_count="multiple", elem_id="batch-files", height=170)
        gr.Markdown(text("batch.names_hint"))
        self.structures = structure_choice(runner, "batch-structures")
        self.start = gr.Button(text("batch.start"), variant="primary", elem_id="batch-start")
        self.status = gr.HTML(elem_id="batch-status")
        self.table = gr.HTML(elem_id="batch-table")
        with gr.Row(visible=False) as self.downloads:
            self.tsv = gr.DownloadButton(text("batch.table"), elem_id="batch-tsv")
            self.zip = gr.DownloadButton(text("batch.zip"), elem_id="batch-zip")
        outputs = [self.status, self.table, self.downloads, self.tsv, self.zip]
        self.start.click(self.run, [self.files, self.structures], outputs, show_progress_on=[self.status], **JOB)
        self.files.upload(self.noted, self.files, self.status, **LIGHT)

    def noted(self, files: list[str] | None, request: gr.Request) -> Any:
        """Note whose uploads the files are."""
        return note_uploads(self.runner, request, files or [])

    def run(self, files: list[str] | None, structures: list[str], request: gr.Request) -> Iterator[dict]:
        """Measure all files; yields the page's changes as they finish."""
        paths = [Path(file) for file in files or []]
        session = session_of(self.runner, request, files or [])
        if isinstance(session, str):
            yield {self.status: session}
            return
        if not paths:
            yield {self.status: html.alert([text("error.nothing")])}
            return
        if not structures:
            yield {self.status: html.alert([text("error.no_structure")])}
            return
        yield {self.downloads: gr.Row(visible=False), self.table: ""}
        yield from self._measure(session, paths, structures)

    def _measure(self, session: Session, paths: Sequence[Path], structures: Sequence[str]) -> Iterator[dict]:
        work = session.new_folder("batch")
        out = work / "derivatives"
        rows: list[Row] = []

        def job(tell: Tell) -> None:
            tell(Stage("starting"))
            dataset, uploads = receive(paths, work, self.runner.limits, suffixes=self.runner.suffixes)
            rows.extend(Row(u, Status.FAILED if u.error else WAITING, error=u.error or "") for u in uploads)
            if any(upload.path for upload in uploads):
                self.runner.measure(session, dataset, out, tell, structures=structures)
                tell(Stage("zip"))
                _pack(rows, out, work)

        began, stage, failed = time.monotonic(), Stage("queued"), []
        for event in self.runner.follow(session, job):
            if isinstance(event, Stage):
                stage = event
            elif isinstance(event, JobFailed):
                failed.append(event.message)
            elif isinstance(event, ScanDone):
                _take(rows, event, work)
            yield {self.status: html.doing(stage, time.monotonic() - began), self.table: batch_table(rows)}
        yield self._finished(rows, failed, work)

    def _finished(self, rows: list[Row], failed: list[str], work: Path) -> dict:
        for row in rows:
            if row.status == WAITING and row.upload.path and not failed:
                kind = split_name(row.upload.path.name)[1]
                row.status, row.error = Status.FAILED, text("error.unfit", name=row.upload.shown, kind=kind)
        done = sum(row.names is not None for row in rows)
        messages = failed + [row.error for row in rows if row.error]
        said = html.alert(messages) if messages else ""
        said += html.good(text("progress.done", done=done, failed=len(rows) - done)) if rows else ""
        packed = done and (work / ZIP_NAME).is_file()
        return {
            self.status: said, self.table: batch_table(rows), self.downloads: gr.Row(visible=bool(packed)),
            self.tsv: gr.DownloadButton(value=str(work / TABLE_NAME) if packed else None),
            self.zip: gr.DownloadButton(value=str(work / ZIP_NAME) if packed else None),
        }  # fmt: skip


def _pack(rows: Sequence[Row], out: Path, work: Path) -> None:
    """Write the downloads, if any scan has a table."""
    files = {_scan(row.upload): row.upload.shown for row in rows if row.upload.path}
    try:
        results.write_batch_table(out, files, work / TABLE_NAME)
    except BidsHypoError:
        return  # no scan was measured; each row says why
    results.zip_folder(out, work / ZIP_NAME)


def _scan(upload: Upload) -> str:
    return "" if upload.path is None else upload.path.name.partition(".")[0]


def _take(rows: Sequence[Row], event: ScanDone, work: Path) -> None:
    for row in rows:
        if _scan(row.upload) != event.result.name:
            continue
        row.status = event.result.status
        failed = event.result.status == Status.FAILED
        row.names = None if failed else event.names
        complaint = event.result.error or event.result.report_error or ""
        row.error = in_words(Exception(complaint), {work / "scans": row.upload.shown})


def batch_table(rows: Sequence[Row]) -> str:
    """The table as it stands, every number as the scan's own table gives it."""
    if not rows:
        return ""
    found = [None if row.names is None else _volumes(row.names) for row in rows]
    titles = list(dict.fromkeys(title for volumes, _ in filter(None, found) for title in volumes))
    titles = titles or [text("table.ICV_B")]
    head = [*(text(f"batch.{name}") for name in _HEAD), *(f"{title}, mm³" for title in titles), text("batch.flags")]
    lines = [_cells(row, of_scan, titles) for row, of_scan in zip(rows, found, strict=True)]
    return html.table(text("batch.caption"), head, lines, left=(0, 1, 2, 3, len(head) - 1))


def _volumes(names: OutputNames) -> tuple[dict[str, str], list[str]]:
    """Volumes of whole structures and sides by their titles, and the titles of all flags."""
    rows = results.read_morph(names.morph)
    titles = results.titles_of(names, rows)
    whole = {title: row["volume_mm3"] for title, row in zip(titles, rows, strict=True) if row["part"] == WHOLE}
    return whole, [flag.title for flag in describe_flags(results.flags_of(rows))]


def _cells(row: Row, found: tuple[dict[str, str], list[str]] | None, titles: Sequence[str]) -> list[str]:
    status = all_texts().get(f"status.{row.status}", text("batch.waiting"))
    path = row.upload.path
    parts = [] if path is None else [p for p in path.parts if p.startswith(("sub-", "ses-"))][:-1]
    who = [next((p for p in parts if p.startswith(key)), "") for key in ("sub-", "ses-")]
    if found is None:
        return [row.upload.shown, *who, status, *[""] * len(titles), row.error]
    volumes, flags = found
    numbers = [volumes.get(title, "") for title in titles]
    return [row.upload.shown, *who, status, *numbers, ", ".join(flags) or text("batch.none")]

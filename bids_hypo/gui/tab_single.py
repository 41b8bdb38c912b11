"""First tab: one scan (or a BIDS folder), its numbers, slices, surface and download."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from bids_hypo.bids.entities import PLAIN_SUFFIX, T1_SUFFIXES
from bids_hypo.bids.names import OutputNames
from bids_hypo.gui import html, results, views
from bids_hypo.gui.common import JOB, LIGHT, ZIP_NAME, note_uploads, session_of, structure_choice
from bids_hypo.gui.datasets import choose_folder
from bids_hypo.gui.jobs import JobFailed, Runner, ScanDone, Stage, Tell
from bids_hypo.gui.sessions import Session
from bids_hypo.gui.texts import text
from bids_hypo.gui.uploads import SINGLE_LABEL, in_words, receive
from bids_hypo.structures import DEFAULT_STRUCTURES
from bids_hypo.workflow.result import Status

_PLANE_ORDER = (1, 0, 2)  # coronal first: the plane that structures are delineated in


@dataclass(frozen=True)
class Given:
    """What is to be measured: a file or a folder, the structures, and what kind of image the file is."""

    file: Path | None
    folder: str = ""
    structures: tuple[str, ...] = DEFAULT_STRUCTURES
    kind: str = PLAIN_SUFFIX


class SingleTab:
    """The components of the tab and what they do.

    Parameters
    ----------
    runner : Runner
    """

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self._cutting = threading.Lock()  # one scan at a time in memory, and no look at half a cube
        self._inputs()
        self.status = gr.HTML(elem_id="single-status")
        with gr.Column(visible=False) as self.found:
            self._results()
        self._connect()

    def _inputs(self) -> None:
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                limit = self.runner.options.limits.upload_mb
                self.file = gr.File(label=text("single.file", limit=limit), elem_id="single-file", height=150)
                allowed = self.runner.options.folders_allowed
                with gr.Accordion(text("single.folder_label"), open=False, visible=allowed):
                    self.folder = gr.Textbox(label=text("single.folder"), placeholder=text("single.folder_hint"),
                                             elem_id="single-folder", max_lines=1)  # fmt: skip
            with gr.Column(scale=1, min_width=260):
                self.structures = structure_choice(self.runner, "single-structures")
                kinds = self.runner.suffixes
                self.kind = gr.Dropdown(
                    kinds, value=PLAIN_SUFFIX, label=text("single.kind"), elem_id="single-kind",
                    visible=len(set(kinds) - set(T1_SUFFIXES)) > 0,
                )  # fmt: skip
                self.start = gr.Button(text("single.start"), variant="primary", elem_id="single-start")
                gr.Markdown(text("single.examples"))
                with gr.Row():
                    self.examples = [
                        gr.Button(text(f"single.example_{k}"), size="sm", min_width=100, elem_id=f"example-{k}")
                        for k in (1, 2)
                    ]

    def _results(self) -> None:
        self.which = gr.Dropdown([], label=text("single.which"), visible=False, elem_id="single-which")
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                self.table = gr.HTML(elem_id="single-table")
            with gr.Column(scale=1, min_width=260):
                mean = results.default_reference_cm3()
                self.reference = gr.Number(
                    mean, label=text("single.reference"), elem_id="single-reference",
                    info=text("single.reference_hint", mean=f"{mean:g}"),
                )  # fmt: skip
                self.download = gr.DownloadButton(text("single.download"), elem_id="single-download")
                gr.Markdown(text("single.contents"))
        gr.Markdown(f"### {text('views.title')}")
        with gr.Row():
            with gr.Column(min_width=260):
                self.range = gr.Radio([], label=text("views.range"), elem_id="view-range")
                self.legend = gr.HTML(elem_id="view-legend")
            with gr.Column(min_width=260):
                self.outlines = gr.Checkbox(True, label=text("views.outlines"), elem_id="view-outlines")
                self.radiological = gr.Checkbox(False, label=text("views.radiological"), elem_id="view-side")
        self.pictures: dict[int, gr.HTML] = {}
        self.sliders: dict[int, gr.Slider] = {}
        with gr.Row():
            for plane in _PLANE_ORDER:
                name = views.PLANES[plane]
                with gr.Column(min_width=280):
                    self.pictures[plane] = gr.HTML(elem_id=f"slice-{name}")
                    title = text(f"views.{name}")
                    self.sliders[plane] = gr.Slider(
                        -20, 20, 0, step=0.4, elem_id=f"at-{name}",
                        label=text("views.slider", plane=title),
                    )  # fmt: skip
        gr.Markdown(f"### {text('views.surface')}")
        self.surface = gr.Plot(show_label=False, elem_id="surface")

    def _connect(self) -> None:
        ran = [self.status, self.found, self.which, self.download]
        after: dict[str, Any] = {
            "fn": self.show, "inputs": [self.which, self.range, self.outlines, self.radiological, self.reference],
            "outputs": [self.table, self.range, self.legend, self.surface, *self.sliders.values(),
                        *self.pictures.values()],
        }  # fmt: skip
        own: dict[str, Any] = {"show_progress_on": [self.status], **JOB}
        self.start.click(self.run, [self.file, self.folder, self.structures, self.kind], ran, **own).success(
            **after, **LIGHT
        )
        for number, button in enumerate(self.examples):
            button.click(self._example(number), None, ran, **own).success(**after, **LIGHT)
        self.which.input(**after, **LIGHT)
        self.reference.change(self.numbers, [self.which, self.reference], self.table, **LIGHT)
        looks = [self.which, self.range, self.outlines, self.radiological]
        places = list(self.sliders.values())
        drawn = list(self.pictures.values())
        self.range.input(self.turn_to, looks, [self.legend, self.surface, *places, *drawn], **LIGHT)
        for box in (self.outlines, self.radiological):
            box.change(self.draw_all, [*looks, *places], drawn, **LIGHT)
        for plane, slider in self.sliders.items():
            slider.input(self._drawing(plane), [*looks, slider], self.pictures[plane], **LIGHT)
        self.file.upload(self.noted, self.file, self.status, **LIGHT)

    def noted(self, file: str | None, request: gr.Request) -> Any:
        """Note whose upload a file is."""
        return note_uploads(self.runner, request, [file] if file else [])

    def run(
        self, file: str | None, folder: str, structures: list[str], kind: str, request: gr.Request
    ) -> Iterator[dict]:
        """Measure what was given; yields the page's changes as the job goes on."""
        session = session_of(self.runner, request, [file] if file else [])
        if isinstance(session, str):
            yield {self.status: session, self.found: gr.Column(visible=False)}
            return
        folder = (folder or "").strip()
        if bool(file) == bool(folder):
            yield {self.status: html.alert([text("error.both" if file else "error.nothing")]),
                   self.found: gr.Column(visible=False)}  # fmt: skip
            return
        if not structures:
            yield {self.status: html.alert([text("error.no_structure")]), self.found: gr.Column(visible=False)}
            return
        given = Given(Path(file) if file else None, folder, tuple(structures), kind or PLAIN_SUFFIX)
        yield from self._measure(session, given)

    def _example(self, number: int) -> Any:
        def run_example(request: gr.Request) -> Iterator[dict]:
            session = session_of(self.runner, request)
            if isinstance(session, str):
                yield {self.status: session, self.found: gr.Column(visible=False)}
                return
            yield {self.status: html.doing(Stage("example"), 0), self.found: gr.Column(visible=False)}
            yield from self._measure(session, Given(self.runner.example(number)))

        return run_example

    def _measure(self, session: Session, given: Given) -> Iterator[dict]:
        work = session.new_folder("job")
        out = work / "derivatives"
        refused: list[str] = []
        session.results.clear()

        def job(tell: Tell) -> None:
            tell(Stage("starting"))
            dataset = self._dataset(given, work, refused)
            if dataset is None:
                return
            within = self.runner.options.data_root if given.folder else None
            self.runner.measure(session, dataset, out, tell, structures=given.structures, within=within)
            tell(Stage("zip"))
            results.zip_folder(out, work / ZIP_NAME)

        yield {self.found: gr.Column(visible=False), self.which: gr.Dropdown(choices=[], value=None)}
        began, stage, failed = time.monotonic(), Stage("queued"), []
        for event in self.runner.follow(session, job):
            if isinstance(event, Stage):
                stage = event
            elif isinstance(event, JobFailed):
                failed.append(event.message)
            elif isinstance(event, ScanDone):
                failed += self._take(session, event, work)
            yield {self.status: html.doing(stage, time.monotonic() - began)}
        shown = {work / "scans": given.file.name} if given.file else {}
        failed = [in_words(Exception(m), shown) for m in failed + refused]
        yield self._finished(session, failed, work / ZIP_NAME)

    def _dataset(self, given: Given, work: Path, refused: list[str]) -> Path | None:
        if given.file is None:
            return choose_folder(given.folder, self.runner.options)
        dataset, (upload,) = receive(
            [given.file], work, self.runner.limits, label=SINGLE_LABEL, suffix=given.kind,
            suffixes=self.runner.suffixes,
        )  # fmt: skip
        if upload.error:
            refused.append(upload.error)
        return dataset if upload.path else None

    @staticmethod
    def _take(session: Session, event: ScanDone, work: Path) -> list[str]:
        """Keep a finished scan for looking at; returns what is to be said about it."""
        result = event.result
        if result.status == Status.FAILED or event.names is None:
            return [result.error or result.name]
        session.results[result.name] = (event.names, work / f"views-{result.name}")
        return [result.report_error] if result.report_error else []

    def _finished(self, session: Session, failed: list[str], packed: Path) -> dict:
        done = list(session.results)
        said = html.alert(failed) if failed else ""
        if not done:
            return {self.status: said or html.alert([text("error.ended")])}
        said += html.good(text("progress.done", done=len(done), failed=len(failed)))
        download = gr.DownloadButton(value=str(packed) if packed.is_file() else None)
        return {
            self.status: said, self.found: gr.Column(visible=True), self.download: download,
            self.which: gr.Dropdown(choices=done, value=done[0], visible=len(done) > 1),
        }  # fmt: skip

    def _folder(self, which: str | None, request: gr.Request) -> Path | None:
        """The cubes of a scan, made when it is first looked at; None if there is no such result (any more)."""
        known = self.runner.sessions.result(str(request.session_hash), which or "")
        if known is None:
            return None
        names, folder = known
        with self._cutting:
            if not folder.is_dir():
                views.write_stacks(names, folder)
        return folder

    def _stack(self, which: str | None, name: str | None, request: gr.Request) -> views.Stack | None:
        """A cube of a scan; None if there is no such result (any more)."""
        folder = self._folder(which, request)
        return None if folder is None or name not in views.cubes(folder) else views.read_stack(folder, str(name))

    def show(self, which: str | None, name: str | None, outlines: bool, turned: bool, reference: float | None,
             request: gr.Request) -> list:  # fmt: skip
        """Everything of a scan; nothing changes if there is no result."""
        known = self.runner.sessions.result(str(request.session_hash), which or "")
        folder = self._folder(which, request)
        if known is None or folder is None:
            return [gr.skip()] * (4 + 2 * len(self.sliders))
        cubes = views.cubes(folder)
        chosen = name if name in cubes else next(iter(cubes))
        choices = [
            (text("views.close" if title else "views.far", title=title, mm=f"{size:.0f}"), key)
            for key, (title, size) in cubes.items()
        ]
        table = self.numbers(which, reference, request)
        stack = views.read_stack(folder, chosen)
        seen = [html.legend(stack.masks), self._surface(known[0], chosen), *self._turned(stack, outlines, turned)]
        return [table, gr.Radio(choices=choices, value=chosen), *seen]

    @staticmethod
    def _surface(names: OutputNames, name: str) -> Any:
        """The surfaces of a structure; those that are shown stay while the whole head is looked at."""
        return gr.skip() if name == views.FAR else views.surface_figure(names, name)

    def numbers(self, which: str | None, reference: float | None, request: gr.Request) -> Any:
        """The table of a scan for a reference ICV."""
        known = self.runner.sessions.result(str(request.session_hash), which or "")
        if known is None:
            return gr.skip()
        checked = results.checked_reference(reference)
        warning = "" if checked else html.alert([text("table.bad_reference", found=reference)])
        rows = results.read_morph(known[0].morph)
        return warning + html.volumes(str(which), rows, results.titles_of(known[0], rows), checked)

    def turn_to(self, which: str | None, name: str, outlines: bool, turned: bool, request: gr.Request) -> list:
        """Another structure, or the head: its surface, sliders with its ends, back where the structure is largest."""
        known = self.runner.sessions.result(str(request.session_hash), which or "")
        stack = self._stack(which, name, request)
        if known is None or stack is None:
            return [gr.skip()] * (2 + 2 * len(self.sliders))
        return [html.legend(stack.masks), self._surface(known[0], name), *self._turned(stack, outlines, turned)]

    def draw_all(self, which: str | None, name: str, outlines: bool, turned: bool, first: float, second: float,
                 third: float, request: gr.Request) -> list:  # fmt: skip
        """All three slices, at the positions of their sliders."""
        stack = self._stack(which, name, request)
        at_mm = [first, second, third]
        return [gr.skip()] * len(at_mm) if stack is None else self._drawn(stack, outlines, turned, at_mm)

    def _drawing(self, plane: int) -> Any:
        def draw(which: str | None, name: str, outlines: bool, turned: bool, at_mm: float, request: gr.Request) -> Any:
            stack = self._stack(which, name, request)
            if stack is None:
                return gr.skip()
            return views.slice_svg(stack, plane, at_mm, outlines=outlines, radiological=turned)

        return draw

    def _turned(self, stack: views.Stack, outlines: bool, turned: bool) -> list:
        """Sliders with the ends of a range, and the slices where they start."""
        at_mm = [stack.widest_mm(plane) for plane in self.sliders]
        places = [
            gr.Slider(minimum=low, maximum=high, value=at, step=stack.spacing_mm)
            for (low, high), at in zip(map(stack.span_mm, self.sliders), at_mm, strict=True)
        ]
        return [*places, *self._drawn(stack, outlines, turned, at_mm)]

    def _drawn(self, stack: views.Stack, outlines: bool, turned: bool, at_mm: list[float]) -> list[str]:
        pairs = zip(self.sliders, at_mm, strict=True)
        return [views.slice_svg(stack, plane, at, outlines=outlines, radiological=turned) for plane, at in pairs]

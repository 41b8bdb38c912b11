"""Jobs: one at a time, in one thread that keeps the networks, told about as they go on."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from bids_hypo.bids.entities import PLAIN_SUFFIX
from bids_hypo.bids.names import OutputNames
from bids_hypo.bids.query import check_dataset, find_scans
from bids_hypo.bids.selection import Selection
from bids_hypo.demo import DemoSettings, write_demo_dataset
from bids_hypo.errors import BidsHypoError, UsageError
from bids_hypo.execute.local import MEMORY_PER_PROCESS_GB  # room for one scan at a time
from bids_hypo.execute.participant import run_participant
from bids_hypo.execute.worker import models_for, names_for
from bids_hypo.gui.datasets import check_links
from bids_hypo.gui.options import MB, GuiOptions, Limits
from bids_hypo.gui.sessions import Session, Sessions
from bids_hypo.gui.texts import text
from bids_hypo.models.bundle import ModelBundle
from bids_hypo.models.catalog import find_models, find_structures
from bids_hypo.structures import DEFAULT_STRUCTURES
from bids_hypo.workflow.options import RunOptions
from bids_hypo.workflow.result import ScanResult, Status
from bids_hypo.workflow.stopwatch import Tell as TellStage

logger = logging.getLogger(__name__)

TICK_S = 1.0
EXAMPLES = ("sub-01/anat/sub-01_T1w.nii.gz", "sub-02/ses-01/anat/sub-02_ses-01_T1w.nii.gz")
_FIRST_STAGE = "read"


@dataclass(frozen=True)
class Stage:
    """What is being done: a key of the texts' ``progress``, and the scan that it is done to."""

    key: str
    number: int = 0
    total: int = 0
    name: str = ""


@dataclass(frozen=True)
class ScanDone:
    """A scan is finished; ``names`` is None if it never was one."""

    result: ScanResult
    names: OutputNames | None


@dataclass(frozen=True)
class JobFailed:
    """The whole job ended with a message for the user."""

    message: str


Event = Stage | ScanDone | JobFailed
Tell = Callable[[Event], None]


class Runner:
    """Runs jobs one after another.

    Parameters
    ----------
    options : GuiOptions
    sessions : Sessions
    """

    def __init__(self, options: GuiOptions, sessions: Sessions) -> None:
        self.options = options
        self.sessions = sessions
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="job")
        self._examples = threading.Lock()
        self._closed = False

    def warm_up(self) -> None:
        """Load the networks and make the examples before anyone asks."""
        self._pool.submit(_logged, self._load)
        threading.Thread(target=_logged, args=(lambda: self.example(0),), daemon=True).start()

    def close(self, seconds: float | None = None) -> bool:
        """Take no more jobs; whether what is being done was over within some time (None: wait for it)."""
        ending = threading.Thread(target=self._end, daemon=True)
        ending.start()
        ending.join(seconds)
        return not ending.is_alive()

    def _end(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        with self._examples:
            self._closed = True

    def _load(self) -> None:
        models_for(self._run_options(Path(), Path()))

    def structures(self) -> dict[str, ModelBundle]:
        """What can be measured, by name."""
        return find_structures(self.options.models_dir)

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The kinds of image that something is measured on, by their BIDS suffixes; T1w first."""
        every = (suffix for bundle in self.structures().values() for suffix in bundle.suffixes)
        return tuple(dict.fromkeys((PLAIN_SUFFIX, *every)))

    def _run_options(
        self, bids_dir: Path, output_dir: Path, structures: Sequence[str] = DEFAULT_STRUCTURES,
        selection: Selection | None = None,
    ) -> RunOptions:  # fmt: skip
        return RunOptions(
            bids_dir, output_dir, selection=selection or Selection(), structures=tuple(structures),
            models_dir=self.options.models_dir,
            device=self.options.device, omp_nthreads=self.options.omp_nthreads, memory_gb=MEMORY_PER_PROCESS_GB,
        )  # fmt: skip

    def example(self, number: int) -> Path:
        """The image of an example; the demo dataset is written on first use."""
        folder = self.sessions.root / "examples"
        with self._examples:
            if self._closed:
                raise UsageError(text("error.ended"))
            write_demo_dataset(folder, DemoSettings(n_subjects=len(EXAMPLES)))
        return folder / EXAMPLES[number]

    def follow(self, session: Session, work: Callable[[Tell], None]) -> Iterator[Event | None]:
        """Run a job and yield what it tells; None about once a second, so that a page can show that time passes.

        Parameters
        ----------
        session : Session
            Deleted no earlier than the job is over.
        work : callable
            Takes the function to tell events with. A `BidsHypoError` of it becomes a `JobFailed`, and so does anything
            else, in general words.
        """
        events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self.sessions.begin(session)
        try:
            future = self._pool.submit(self._guarded, session, work, events.put)
        except RuntimeError:  # the server is going down
            self.sessions.finish(session)
            yield JobFailed(text("error.ended"))
            return
        yield Stage("queued")
        while not (future.done() and events.empty()):
            try:
                yield events.get(timeout=TICK_S)
            except queue.Empty:
                yield None

    def _guarded(self, session: Session, work: Callable[[Tell], None], tell: Tell) -> None:
        try:
            if not session.ended:
                self.sessions.check_room()
                work(tell)
        except BidsHypoError as error:
            tell(JobFailed(str(error)))
        except Exception as error:  # whatever one upload does, the server goes on
            logger.exception("a job failed")
            tell(JobFailed(text("error.unexpected", kind=type(error).__name__)))
        finally:
            self.sessions.finish(session)

    @property
    def limits(self) -> Limits:
        """What is taken in, as far as there is room for it."""
        return replace(self.options.limits, left_mb=self.sessions.room() // MB)

    def measure(
        self, session: Session, bids_dir: Path, output_dir: Path, tell: Tell, *,
        structures: Sequence[str] = DEFAULT_STRUCTURES, within: Path | None = None,
    ) -> None:  # fmt: skip
        """Run the participant level on a dataset, a participant at a time, and tell each scan as it finishes.

        Parameters
        ----------
        session : Session
            The job stops between participants when it has ended.
        bids_dir, output_dir : Path
        tell : callable
        structures : sequence of str
            What to measure.
        within : Path, optional
            A participant with an image outside this folder fails alone.

        Raises
        ------
        BidsHypoError
            For what concerns the whole dataset.
        """
        check_dataset(bids_dir)
        run = self._run_options(bids_dir, output_dir, structures)
        catalog = find_models(run.models_dir, run.structures)
        scans, missing = find_scans(bids_dir, Selection(), suffixes=catalog.suffixes)
        tell(Stage("loading", 0, len(scans)))
        models_for(run)
        begun = 0

        def on_stage(stage: str) -> None:
            nonlocal begun
            begun += stage == _FIRST_STAGE
            number = min(max(begun, 1), len(scans))
            tell(Stage(stage, number, len(scans), scans[number - 1].name))

        by_name = {scan.name: scan for scan in scans}
        for label in dict.fromkeys([*(scan.subject for scan in scans), *(m.subject for m in missing)]):
            if session.ended:
                raise UsageError(text("error.ended"))
            self.sessions.check_room()
            options = replace(run, selection=Selection(participant_labels=(label,)))
            images = [scan.path for scan in scans if scan.subject == label]
            for result in _run_one(options, images, within, on_stage):
                scan = by_name.get(result.name)
                tell(ScanDone(result, None if scan is None else names_for(scan, output_dir, catalog)))


def _run_one(options: RunOptions, images: Sequence[Path], within: Path | None, tell: TellStage) -> list[ScanResult]:
    """A participant's results; one whose folder holds no scan, or leads out of where scans may be, fails alone."""
    try:
        check_links(images, within)
        return run_participant(options, tell=tell)[1]
    except BidsHypoError as error:
        label = options.selection.participant_labels[0]
        return [ScanResult(f"sub-{label}", Status.FAILED, error=str(error))]


def _logged(work: Callable[[], object]) -> None:
    try:
        work()
    except Exception:  # told when somebody needs it
        logger.exception("warming up failed")

"""Which segmentations are compared with which truth."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_hypo.bids.entities import shorten
from bids_hypo.bids.links import check_writes_stay
from bids_hypo.bids.matching import match_scans
from bids_hypo.bids.names import FIGURES_FOLDER
from bids_hypo.bids.places import check_can_be_made
from bids_hypo.bids.segmentation_files import read_segmentation
from bids_hypo.bids.segmentations import SegmentationFiles, find_segmentations
from bids_hypo.bids.selection import Selection
from bids_hypo.bids.unmatched import unmatched
from bids_hypo.errors import CannotCreateError, NothingSelectedError, UsageError
from bids_hypo.image.label_numbers import Labels, Wanted
from bids_hypo.image.parts import Parts

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Where the segmentations of a method are.

    Attributes
    ----------
    name : str
        As in the tables.
    folder : Path
    pattern : str or None
        See `bids_hypo.bids.segmentations.find_segmentations`.
    labels : Labels or None
        See `bids_hypo.bids.segmentation_files.read_segmentation`.
    """

    name: str
    folder: Path
    pattern: str | None = None
    labels: Labels | None = None

    def read(self, files: SegmentationFiles, wanted: Wanted) -> Parts:
        """The structure in the files of a scan."""
        return read_segmentation(files, wanted, self.labels)


@dataclass(frozen=True)
class EvaluateOptions:
    """What to evaluate.

    Attributes
    ----------
    truth : Source
    methods : tuple of Source
    out : Path
    wanted : Wanted
        The structure.
    images : Path or None
        BIDS dataset with the T1w images, drawn below the outlines.
    participant_labels, session_labels : tuple of str
        Without prefix; empty for all.
    scores : Path or None
        Table of clinical scores.
    score_names : tuple of str
        Empty for all columns of numbers.
    covariates : tuple of str
    """

    truth: Source
    methods: tuple[Source, ...]
    out: Path
    wanted: Wanted
    images: Path | None = None
    participant_labels: tuple[str, ...] = ()
    session_labels: tuple[str, ...] = ()
    scores: Path | None = None
    score_names: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Which files are compared.

    Attributes
    ----------
    truths : list of SegmentationFiles
    predictions : dict of str to list
        For each method, beside every truth, the SegmentationFiles or None.
    reasons : dict of str to list of str
        Why there is none; empty strings elsewhere.
    unused : dict of str to list of str
        Scans that a method has and the truth lacks.
    """

    truths: list[SegmentationFiles]
    predictions: dict[str, list[SegmentationFiles | None]]
    reasons: dict[str, list[str]]
    unused: dict[str, list[str]]


def check_output(options: EvaluateOptions) -> None:
    """Make the output folder; it must not be one of the inputs.

    Raises
    ------
    UsageError, CannotCreateError
    """
    inputs = [options.truth.folder, *(m.folder for m in options.methods), *([options.images] if options.images else [])]
    if options.out.resolve() in [folder.resolve() for folder in inputs]:
        raise UsageError(f"{options.out}: the output folder is one of the inputs. Choose another.")
    check_can_be_made(options.out)
    check_writes_stay(options.out / FIGURES_FOLDER, options.out)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotCreateError(f"{options.out}: cannot be made ({error}). Choose another folder.") from error


def make_plan(options: EvaluateOptions) -> Plan:
    """Find the files of the truth and of every method, and pair them by scan.

    Raises
    ------
    NothingSelectedError
        If no truth passes the filters.
    """
    found = find_segmentations(options.truth.folder, options.wanted, options.truth.pattern)
    truths = [t for t in found if _selected(t, options)]
    if not truths:
        raise NothingSelectedError(
            f"{options.truth.folder}: no scan of the truth passes the filters; there are "
            f"{shorten(t.name for t in found)}."
        )
    predictions: dict[str, list[SegmentationFiles | None]] = {}
    reasons, unused = {}, {}
    every = list(found)
    for method in options.methods:
        of_method = find_segmentations(method.folder, options.wanted, method.pattern)
        every += of_method
        files = [f for f in of_method if _selected(f, options)]
        matches = match_scans([t.entities for t in truths], [f.entities for f in files])
        predictions[method.name] = [None if m.index is None else files[m.index] for m in matches]
        reasons[method.name] = [m.reason for m in matches]
        used = {m.index for m in matches}
        unused[method.name] = [f.name for i, f in enumerate(files) if i not in used]
    _tell_unmatched(options, found, every)
    return Plan(truths, predictions, reasons, unused)


def _tell_unmatched(
    options: EvaluateOptions, truths: Sequence[SegmentationFiles], every: Sequence[SegmentationFiles]
) -> None:
    """Say who of those asked for has no truth, and which sessions neither the truth nor a method knows."""
    for selection, files in (
        (Selection(participant_labels=options.participant_labels), truths),
        (Selection(session_labels=options.session_labels), every),
    ):
        for sentence in unmatched(selection, (f.entities for f in files), options.truth.folder):
            logger.warning("%s", sentence)


def _selected(files: SegmentationFiles, options: EvaluateOptions) -> bool:
    subjects, sessions = options.participant_labels, options.session_labels
    return (not subjects or files.entities["sub"] in subjects) and (
        not sessions or files.entities.get("ses", sessions[0]) in sessions
    )

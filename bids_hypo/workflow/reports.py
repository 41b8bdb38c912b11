"""Figures and pages of finished scans, made from the derivatives without any network."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from bids_hypo.bids.names import (
    FIGURES,
    FIGURES_RECORD,
    OutputNames,
    citation_file,
    closing_files,
    find_written,
    index_file,
    sidecar,
)
from bids_hypo.bids.query import Scan
from bids_hypo.bids.selection import Selection
from bids_hypo.bids.sidecars import read_record
from bids_hypo.bids.tables import morph_numbers, read_volumes
from bids_hypo.errors import BidsHypoError
from bids_hypo.files import DAMAGED, read_json
from bids_hypo.image.volume import write_bytes
from bids_hypo.models.bundle import ModelBundle
from bids_hypo.report.index_page import IndexEntry, write_index_page
from bids_hypo.report.methods import Recorded, citation_texts
from bids_hypo.report.norms import MEASURES, place_value
from bids_hypo.report.scan_page import MOSAICS, ScanView, write_scan_page
from bids_hypo.workflow.drawing import draw_figures, drawn_figures
from bids_hypo.workflow.edited import read_counted
from bids_hypo.workflow.participant import ScanResult
from bids_hypo.workflow.summary import read_result

logger = logging.getLogger(__name__)

Rows = dict[str, dict[str, Any]]

_ROUNDS = 20  # of writing the pages, while other jobs finish scans


def redraw(scan: Scan, names: OutputNames) -> ScanResult:
    """Draw a complete scan's figures from its images; returns its result, or a failure."""
    try:
        draw_figures(names, *read_counted(names))
        return replace(read_result(names), status="redrawn")
    except (BidsHypoError, *DAMAGED) as error:
        text = str(error)
        return ScanResult(scan.name, "failed", error=text if str(scan.path) in text else f"{scan.path}: {text}")


def figures_missing_or_old(names: OutputNames) -> bool:
    """Whether a scan's figures are not all there as they were drawn, or older than its table."""
    try:
        made = sidecar(names.morph).stat().st_mtime_ns
    except FileNotFoundError:  # another job is doing the scan again just now, and will draw it
        return False
    return _older(names.figure(*FIGURES_RECORD), made) or drawn_figures(names).keys() != FIGURES.keys()


def _older(path: Path, than_ns: int) -> bool:
    return not path.is_file() or path.stat().st_mtime_ns < than_ns


def write_pages(
    output_dir: Path, bids_dir: Path, bundles: Sequence[ModelBundle], *, subset: Collection[str] | None = None
) -> dict[str, str]:
    """Write the pages of subjects, the list of all scans and the methods text.

    Parameters
    ----------
    output_dir, bids_dir : Path
    bundles : sequence of ModelBundle
        For the methods text.
    subset : collection of str, optional
        Names of the scans whose pages are to be made anew; the pages of others only where they are missing or older
        than what they show. All, if not given.

    Returns
    -------
    dict of str to str
        For scans whose page could not be made, by name, why.
    """
    for _ in range(_ROUNDS):
        state = _written_state(output_dir)
        problems = _write_pages_once(output_dir, bids_dir, bundles, subset)
        if _written_state(output_dir) == state:
            break  # else another job has finished a scan meanwhile, and may have written its list before ours
    return problems


def _written_state(output_dir: Path) -> set[tuple[str, int]]:
    """The closing files of all scans with their times, to see whether something was finished in the meantime."""
    state = set()
    for path in closing_files(output_dir):
        with contextlib.suppress(FileNotFoundError):
            state.add((str(path), path.stat().st_mtime_ns))
    return state


def _write_pages_once(
    output_dir: Path, bids_dir: Path, bundles: Sequence[ModelBundle], subset: Collection[str] | None
) -> dict[str, str]:
    problems: dict[str, str] = {}
    written = find_written(output_dir, bids_dir)
    if not written:
        return problems
    table = scan_rows(output_dir)
    dataset, doi = _dataset(output_dir, bids_dir)
    pages: dict[Path, list[OutputNames]] = {}
    for names in written:
        if names.scan.name in table:
            pages.setdefault(names.report, []).append(names)
    for path, scans in pages.items():
        if subset is not None and not any(n.scan.name in subset for n in scans) and not _stale(path, scans):
            continue
        try:
            views = [scan_view(names, table) for names in scans]
            write_scan_page(path, views, dataset=dataset, index=index_file(output_dir).name)
        except Exception as error:  # a page that fails must not cost the others, nor any result
            text = f"{path}: the page could not be made ({type(error).__name__}: {error})"
            logger.warning("%s", text, exc_info=logger.isEnabledFor(logging.DEBUG))
            problems |= {names.scan.name: text for names in scans}
    write_index(output_dir, written, table, dataset)
    write_methods(output_dir, written, table, (dataset, doi), bundles)
    return problems


def _stale(path: Path, scans: Sequence[OutputNames]) -> bool:
    """Whether a page is missing, or older than what it shows; nothing can be done for scans without figures."""
    shown = [n.figure(*FIGURES_RECORD) for n in scans]
    newest = [p.stat().st_mtime_ns for p in shown if p.is_file()]
    return bool(newest) and _older(path, max(newest))


def scan_rows(output_dir: Path) -> Rows:
    """Volumes and flags of all scans, by name, with the columns of `bids_hypo.bids.tables.read_volumes`."""
    return {str(row["scan"]): _named(row) for row in read_volumes(output_dir, Selection()).table.to_dict("records")}


def scan_view(names: OutputNames, table: Rows) -> ScanView:
    """Gather what the page shows of a scan.

    Parameters
    ----------
    names : OutputNames
    table : dict of str to dict
        All scans, as `scan_rows` gives them.
    """
    row = table[names.scan.name]
    figures = drawn_figures(names)
    if not figures:
        raise FileNotFoundError(f"{names.figures_dir}: no figure as it was drawn; give --reports-only to draw them")
    if figures.keys() != FIGURES.keys():
        changed = ", ".join(names.figure(*FIGURES[key]).name for key in FIGURES if key not in figures)
        logger.warning("%s: not shown, for it is not as it was drawn: %s.", names.figures_dir, changed)
    return ScanView(
        name=names.scan.name,
        source_file=row["source_file"],
        rows=_table_rows(names),
        flags=row["flags"],
        record=read_record(sidecar(names.morph)),
        places=[place_value(measure, row[measure.key], _column(table, measure.key)) for measure in MEASURES],
        mosaics={key: figures[key] for key in MOSAICS if key in figures},
        surface=figures.get("surface"),
    )


def _table_rows(names: OutputNames) -> list[dict[str, Any]]:
    return [_named(row) for row in morph_numbers(names.morph).to_dict("records")]


def _named(row: Mapping[Hashable, Any]) -> dict[str, Any]:
    """A row of a table with None for what is missing."""
    return {str(key): None if pd.api.types.is_scalar(value) and pd.isna(value) else value for key, value in row.items()}


def _column(table: Rows, key: str) -> list[float]:
    return [float("nan") if row[key] is None else float(row[key]) for row in table.values()]


def write_index(output_dir: Path, written: Sequence[OutputNames], table: Rows, dataset: str) -> None:
    """Write the list of all scans of a derivative dataset; see `write_pages`."""
    entries = []
    for names in written:
        if names.scan.name not in table:
            continue
        row = table[names.scan.name]
        thumbnail = names.figure(*FIGURES["thumbnail"])
        entries.append(
            IndexEntry(
                name=names.scan.name,
                source_file=row["source_file"],
                report=names.report.name if names.report.is_file() else None,
                thumbnail=thumbnail.relative_to(output_dir).as_posix() if thumbnail.is_file() else None,
                left_mm3=row["left_mm3"],
                right_mm3=row["right_mm3"],
                hypothalamus_mm3=row["hypothalamus_mm3"],
                icv_mm3=row["icv_mm3"],
                flags=row["flags"],
                manual=bool(row["manual"]),
            )
        )
    n_failed = len(list(output_dir.glob("logs/crash-*.txt")))
    write_index_page(index_file(output_dir), entries, dataset=dataset, n_failed=n_failed)


def write_methods(
    output_dir: Path, written: Sequence[OutputNames], table: Rows, dataset: tuple[str, str],
    bundles: Sequence[ModelBundle],
) -> None:  # fmt: skip
    """Write ``logs/CITATION`` as Markdown, BibTeX and LaTeX; see `write_pages`."""
    subjects, records = set(), []
    for names in written:
        if names.scan.name in table:
            with contextlib.suppress(FileNotFoundError):  # being done again by another job
                records.append(read_record(sidecar(names.morph)))
                subjects.add(names.scan.subject)
    recorded = Recorded(
        *dataset,
        n_subjects=len(subjects),
        records=records,
        n_without_icv=sum(row["icv_mm3"] is None for row in table.values()),
        bundles=bundles,
    )
    for extension, text in citation_texts(recorded).items():
        write_bytes(citation_file(output_dir, extension), text.encode())


def _dataset(output_dir: Path, bids_dir: Path) -> tuple[str, str]:
    """Name and DOI of the input dataset."""
    try:
        content = read_json(bids_dir / "dataset_description.json")
        return str(content.get("Name") or bids_dir.name), str(content.get("DatasetDOI") or "").removeprefix("doi:")
    except (OSError, ValueError, AttributeError):
        return bids_dir.name, ""

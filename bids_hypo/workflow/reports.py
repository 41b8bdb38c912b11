"""Figures and pages of finished scans, made from the derivatives without any network."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from bids_hypo.bids.entities import PLAIN_SUFFIX
from bids_hypo.bids.names import FIGURES_RECORD, OutputNames, citation_file, index_file, sidecar
from bids_hypo.bids.query import Scan
from bids_hypo.bids.selection import Selection
from bids_hypo.bids.sidecars import read_published, read_record, read_structures
from bids_hypo.bids.tables import SIDE_COLUMNS, all_flags, morph_numbers, read_volumes
from bids_hypo.bids.written import closing_files, find_written
from bids_hypo.errors import BidsHypoError
from bids_hypo.files import DAMAGED, read_json
from bids_hypo.image.volume import write_bytes
from bids_hypo.models.bundle import ModelBundle
from bids_hypo.report.methods import Recorded, citation_texts
from bids_hypo.report.norms import Measure, Place, icv_measure, measures_of, place_value, sources_of
from bids_hypo.report.scan_page import MOSAICS, ScanView, StructureView, write_scan_page
from bids_hypo.structures import BOTH, ICV, MIDLINE, Structure
from bids_hypo.workflow.drawing import draw_figures, drawn_figures, figure_paths
from bids_hypo.workflow.edited import read_counted
from bids_hypo.workflow.listing import Rows, write_index
from bids_hypo.workflow.result import ScanResult, Status, read_result

logger = logging.getLogger(__name__)

_ROUNDS = 20  # of writing the pages, while other jobs finish scans


def redraw(scan: Scan, names: OutputNames, *, anew: bool = False) -> ScanResult:
    """Draw a complete scan's figures from its images, all or those that are missing; its result, or a failure."""
    try:
        draw_figures(names, *read_counted(names), anew=anew)
        return replace(read_result(names), status=Status.REDRAWN)
    except (BidsHypoError, *DAMAGED) as error:
        text = str(error)
        return ScanResult(scan.name, Status.FAILED, error=text if str(scan.path) in text else f"{scan.path}: {text}")


def figures_missing_or_old(names: OutputNames) -> bool:
    """Whether a scan's figures are not all there as they were drawn, or older than its table."""
    try:
        made = sidecar(names.morph).stat().st_mtime_ns
    except FileNotFoundError:  # another job is doing the scan again just now, and will draw it
        return False
    if _older(names.figure(*FIGURES_RECORD), made):
        return True
    try:
        structures = read_structures(read_record(sidecar(names.morph)))
    except DAMAGED:  # drawing will say so
        return True
    return drawn_figures(names, structures).keys() != figure_paths(names, structures).keys()


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
    """Volumes and flags of all scans, with the columns of `bids_hypo.bids.tables.read_volumes`."""
    found: Rows = {}
    for row in read_volumes(output_dir, Selection(), with_missing=True).table.to_dict("records"):
        found.setdefault(str(row["scan"]), []).append(_named(row))
    return found


def scan_view(names: OutputNames, table: Rows) -> ScanView:
    """Gather what the page shows of a scan.

    Parameters
    ----------
    names : OutputNames
    table : dict of str to list of dict
        All scans, as `scan_rows` gives them.
    """
    record, numbers = read_record(sidecar(names.morph)), morph_numbers(names.morph)
    structures = read_structures(record)
    figures, expected = drawn_figures(names, structures), figure_paths(names, structures)
    if not figures:
        raise FileNotFoundError(
            f"{names.figures_dir}: all figures are missing, or were changed after they were drawn. "
            "Draw them again with --reports-only"
        )
    if figures.keys() != expected.keys():
        changed = ", ".join(path.name for key, path in expected.items() if key not in figures)
        logger.warning("%s: not shown, because missing or changed after it was drawn: %s.", names.figures_dir, changed)
    rows = [_named(row) for row in numbers.to_dict("records")]
    own = table[names.scan.name]
    of_icv = read_published(record.get(ICV, {}))
    return ScanView(
        name=names.scan.name,
        source_file=own[0]["source_file"],
        rows=rows,
        flags=tuple(dict.fromkeys(flag for row in own for flag in row["flags"])),
        record=record,
        structures=[_structure_view(one, numbers, figures, (own[0]["image"], table)) for one in structures.values()],
        icv=_place(icv_measure(of_icv), numbers, (own[0]["image"], table)) if ICV in record else None,
        icv_published=sources_of(of_icv),
        head=figures.get((None, "head")),
    )


def _structure_view(
    structure: Structure,
    numbers: pd.DataFrame,
    figures: Mapping[tuple[str | None, str], bytes],
    among: tuple[str, Rows],
) -> StructureView:
    own = numbers[numbers["structure"] == structure.name]
    sides = [None if pd.isna(side) else str(side) for side in own["hemisphere"]]
    pairs = list(zip(own["part"], sides, strict=True))
    return StructureView(
        name=structure.name,
        title=structure.title,
        colours=structure.legend,
        view_mm=structure.view_mm,
        flags=all_flags(own["flags"]),
        places=[_place(measure, numbers, among)
                for measure in measures_of(structure.name, structure.title, pairs, structure.published)],
        published=sources_of(structure.published),
        mosaics={key: figures[structure.name, key] for key in MOSAICS if (structure.name, key) in figures},
        surface=figures.get((structure.name, "surface")),
    )  # fmt: skip


def _place(measure: Measure, numbers: pd.DataFrame, among: tuple[str, Rows]) -> Place:
    """A number of a scan among those of all scans of the same kind of image."""
    structure, part, side = measure.row
    same_side = numbers["hemisphere"].isna() if side is None else numbers["hemisphere"] == side
    own = numbers.loc[(numbers["structure"] == structure) & (numbers["part"] == part) & same_side, "volume_mm3"]
    value = None if own.empty or pd.isna(own.iloc[0]) else float(own.iloc[0])
    image, table = among
    every = [value_of(rows, measure) for rows in table.values() if rows[0]["image"] == image]
    return place_value(measure, value, [float("nan") if one is None else one for one in every])


def value_of(rows: list[dict[str, Any]], measure: Measure) -> float | None:
    """The number of another scan that a measure is about."""
    structure, part, side = measure.row
    if structure == ICV:
        return rows[0]["icv_mm3"]
    row = next((row for row in rows if (row["structure"], row["part"]) == (structure, part)), None)
    if row is None:
        return None
    if side == MIDLINE and row["left_mm3"] is not None:  # a part of three pieces: what is on neither side
        return row["volume_mm3"] - row["left_mm3"] - row["right_mm3"]
    return row[SIDE_COLUMNS.get(side or BOTH, "volume_mm3")]


def _named(row: Mapping[Hashable, Any]) -> dict[str, Any]:
    """A row of a table with None for what is missing."""
    return {str(key): None if pd.api.types.is_scalar(value) and pd.isna(value) else value for key, value in row.items()}


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
        n_without_icv=sum(rows[0]["image"] == PLAIN_SUFFIX and rows[0]["icv_mm3"] is None for rows in table.values()),
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

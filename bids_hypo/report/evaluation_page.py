"""The page of an evaluation, and its figures as files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from bids_hypo.bids.names import FIGURES_FOLDER
from bids_hypo.image.volume import write_bytes
from bids_hypo.report.agreement_figures import (
    SERIES_WORDS,
    associations_figure,
    bland_altman_figure,
    metrics_figure,
)
from bids_hypo.report.evaluation_rows import (
    agreement_rows,
    association_comparison_rows,
    association_rows,
    comparison_rows,
    counts,
    noted,
    number,
    ranking_rows,
    records,
    resampled,
    scan_columns,
    scan_rows,
    spread,
    summary_rows,
)
from bids_hypo.report.html import NO_FORMULAS, data_uri, png_bytes, write_page
from bids_hypo.report.outline_figures import FOUND_COLOUR, TRUTH_COLOUR, OutlineCase, outline_figure
from bids_hypo.structures import BOTH, LEFT, RIGHT, WHOLE, capitalised

_LIBRARIES = ("scipy", "statsmodels", "pingouin", "nibabel", "numpy")


class Metric(Protocol):
    """What the page must know about a metric."""

    @property
    def name(self) -> str:
        """Column."""

    @property
    def title(self) -> str:
        """Heading."""

    @property
    def unit(self) -> str:
        """Unit; empty if none."""

    @property
    def digits(self) -> int:
        """After the point."""


@dataclass(frozen=True)
class EvaluationPage:
    """What the page shows.

    Attributes
    ----------
    out : Path
        Folder of the page.
    title : str
        Of the structure.
    truth : str
        Name of the truth.
    scans, compared : DataFrame
        All rows; rows of the scans that all methods have.
    tables : dict of str to DataFrame
        ``summary``, ``metrics``, ``agreement``; maybe ``ranking``, ``comparisons``, ``associations``,
        ``association_comparisons``.
    metrics, boxes : sequence of Metric
        In the order of the table; those drawn as box plots.
    outlines : dict of str to list of OutlineCase
        For each method; scans without T1w image are drawn on grey.
    unused : dict of str to list of str
        Scans that a method has and the truth lacks.
    covariates, remarks : sequence of str
        Remarks are about the order of sessions.
    """

    out: Path
    title: str
    truth: str
    scans: pd.DataFrame
    compared: pd.DataFrame
    tables: dict[str, pd.DataFrame]
    metrics: Sequence[Metric]
    boxes: Sequence[Metric]
    outlines: dict[str, list[OutlineCase]]
    unused: dict[str, list[str]]
    covariates: Sequence[str] = ()
    remarks: Sequence[str] = ()

    @property
    def methods(self) -> list[str]:
        """In the order given."""
        return list(self.scans["method"].unique())

    @property
    def sides(self) -> list[str]:
        """Hemispheres that were compared: B first."""
        return [h for h in SERIES_WORDS if h in set(self.compared["hemisphere"])]


def write_evaluation_page(page: EvaluationPage) -> None:
    """Write ``evaluation.html`` and ``figures/*.png``.

    Parameters
    ----------
    page : EvaluationPage
    """
    with mpl.rc_context(NO_FORMULAS):
        sections = [_section(_of_part(page, str(part)), str(part)) for part in page.compared["part"].unique()]
        outlines = _outlines(page)
    pictures = {name: payload for section in sections for name, payload in section["files"].items()} | outlines
    for name, payload in pictures.items():
        write_bytes(page.out / FIGURES_FOLDER / f"{name}.png", payload)
    write_page(
        page.out / "evaluation.html",
        "evaluation.html",
        page=page,
        words=SERIES_WORDS,
        headline=headline(page),
        counts=counts(page),
        missing=noted(page.scans[page.scans["status"] != "compared"]),
        odd=noted(page.scans[(page.scans["status"] == "compared") & page.scans["note"].notna()]),
        resampled=resampled(page),
        sections=sections,
        outlines={name: data_uri(payload, "image/png") for name, payload in outlines.items()},
        outline_colours={"truth": TRUTH_COLOUR, "prediction": FOUND_COLOUR},
        summary_columns={"title": "", "truth": "Truth"} | {m: m for m in page.methods},
        n_missing=int((page.scans["status"] != "compared").sum()),
        scan_rows=scan_rows(page),
        scan_columns=scan_columns(page),
        libraries={name: version(name) for name in _LIBRARIES},
    )


def _of_part(page: EvaluationPage, part: str) -> EvaluationPage:
    """The page as it would be if there were only this part."""
    tables = {name: table[table["part"] == part] for name, table in page.tables.items() if len(table)}
    compared = page.compared[page.compared["part"] == part]
    with_it = {name: table for name, table in tables.items() if len(table)}
    return replace(page, compared=compared, tables=with_it)


def _section(page: EvaluationPage, part: str) -> dict[str, Any]:
    """What the page shows of a part, or of the whole: the same for each."""
    before = "" if part == WHOLE else f"part-{re.sub('[^A-Za-z0-9]+', '-', part)}_"
    pictures = _pictures(page)
    return {
        "part": part,
        "is_whole": part == WHOLE,
        "title": f"Whole {page.title}" if part == WHOLE else capitalised(part),
        "sides": page.sides,
        "summary": {side: summary_rows(page, side) for side in page.sides},
        "ranking": ranking_rows(page),
        "comparisons": comparison_rows(page),
        "agreement": {side: agreement_rows(page, side) for side in page.sides},
        "associations": association_rows(page),
        "association_comparisons": association_comparison_rows(page),
        "analyses": list(page.tables["associations"]["analysis"].unique()) if "associations" in page.tables else [],
        "pictures": {name: data_uri(payload, "image/png") for name, payload in pictures.items()},
        "files": {f"{before}{name}": payload for name, payload in pictures.items()},
    }


def headline(page: EvaluationPage) -> list[str]:
    """One plain sentence a method on the whole structure."""
    page = _of_part(page, WHOLE)
    metrics = {(row["method"], row["metric"]): row for row in records(page.tables["metrics"], BOTH)}
    sentences = []
    for row in records(page.tables["agreement"], BOTH):
        method = row["method"]
        error = float(metrics[method, "volume_error_percent"]["mean"])
        word = "larger" if error > 0 else "smaller"
        sentences.append(
            f"{method}: Dice {spread(metrics[method, 'dice'], 2)}, 95 % Hausdorff distance "
            f"{spread(metrics[method, 'hausdorff95_mm'], 2)} mm; volumes {abs(error):.1f} % {word} than the truth on "
            f"average, limits of agreement {number(row['lower_limit_mm3'], 0)} to "
            f"{number(row['upper_limit_mm3'], 0)} mm³."
        )
    return sentences


def _pictures(page: EvaluationPage) -> dict[str, bytes]:
    figures: dict[str, Figure] = {}
    boxes = [(m.name, f"{m.title}, {m.unit}" if m.unit else m.title) for m in page.boxes]
    figures["metrics"] = metrics_figure(page.compared, boxes, [BOTH])
    for side in page.sides:
        figures[f"bland-altman_{SERIES_WORDS[side]}"] = bland_altman_figure(
            page.compared, page.tables["agreement"], side
        )
    if len(page.sides) > 1:
        figures["metrics_sides"] = metrics_figure(page.compared, boxes, [LEFT, RIGHT])
    if "associations" in page.tables:
        table = page.tables["associations"]
        for n, analysis in enumerate(table["analysis"].unique()):
            figures[f"associations_{n + 1}"] = associations_figure(table, analysis)
    return {name: png_bytes(figure) for name, figure in figures.items()}


def _outlines(page: EvaluationPage) -> dict[str, bytes]:
    """The best, the median and the worst scan of each method."""
    return {
        f"outlines_{n}": png_bytes(outline_figure(cases), dpi=90)
        for n, cases in enumerate(page.outlines.values(), start=1)
        if cases
    }

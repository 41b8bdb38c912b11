"""The page of an evaluation, and its figures as files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import matplotlib as mpl
import numpy as np
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
from bids_hypo.report.html import NO_FORMULAS, data_uri, png_bytes, write_page
from bids_hypo.report.outline_figures import FOUND_COLOUR, TRUTH_COLOUR, OutlineCase, outline_figure
from bids_hypo.structures import BOTH, LEFT, RIGHT, WHOLE

_SHORT_TESTS = {"paired t": "t", "Wilcoxon signed-rank": "W"}
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
        ``summary``, ``metrics``, ``agreement``; maybe ``ranking``, ``comparisons``, ``associations``.
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
        counts=_counts(page),
        missing=_noted(page.scans[page.scans["status"] != "compared"]),
        odd=_noted(page.scans[(page.scans["status"] == "compared") & page.scans["note"].notna()]),
        resampled=_resampled(page),
        sections=sections,
        outlines={name: data_uri(payload, "image/png") for name, payload in outlines.items()},
        outline_colours={"truth": TRUTH_COLOUR, "prediction": FOUND_COLOUR},
        summary_columns={"title": "", "truth": "Truth"} | {m: m for m in page.methods},
        n_missing=int((page.scans["status"] != "compared").sum()),
        scan_rows=_scan_rows(page),
        scan_columns=_scan_columns(page),
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
        "title": f"Whole {page.title}" if part == WHOLE else part[:1].upper() + part[1:],
        "sides": page.sides,
        "summary": {side: _summary_rows(page, side) for side in page.sides},
        "ranking": _ranking_rows(page),
        "comparisons": _comparison_rows(page),
        "agreement": {side: _agreement_rows(page, side) for side in page.sides},
        "associations": _association_rows(page),
        "analyses": list(page.tables["associations"]["analysis"].unique()) if "associations" in page.tables else [],
        "pictures": {name: data_uri(payload, "image/png") for name, payload in pictures.items()},
        "files": {f"{before}{name}": payload for name, payload in pictures.items()},
    }


def headline(page: EvaluationPage) -> list[str]:
    """One plain sentence a method on the whole structure."""
    page = _of_part(page, WHOLE)
    metrics = {(row["method"], row["metric"]): row for row in _records(page.tables["metrics"], BOTH)}
    sentences = []
    for row in _records(page.tables["agreement"], BOTH):
        method = row["method"]
        error = float(metrics[method, "volume_error_percent"]["mean"])
        word = "larger" if error > 0 else "smaller"
        sentences.append(
            f"{method}: Dice {_spread(metrics[method, 'dice'], 2)}, 95 % Hausdorff distance "
            f"{_spread(metrics[method, 'hausdorff95_mm'], 2)} mm; volumes {abs(error):.1f} % {word} than the truth on "
            f"average, limits of agreement {_number(row['lower_limit_mm3'], 0)} to "
            f"{_number(row['upper_limit_mm3'], 0)} mm³."
        )
    return sentences


def _records(table: pd.DataFrame, hemisphere: str | None = None) -> list[dict[str, Any]]:
    """Rows as dicts, of one hemisphere or of all."""
    part = table if hemisphere is None else table[table["hemisphere"] == hemisphere]
    return [{str(k): v for k, v in row.items()} for row in part.to_dict("records")]


def _spread(row: Mapping[str, Any], digits: int) -> str:
    sd = f" ± {row['sd']:.{digits}f}" if np.isfinite(row["sd"]) else ""
    return f"{_number(row['mean'], digits)}{sd}"


def _pictures(page: EvaluationPage) -> dict[str, bytes]:
    figures: dict[str, Figure] = {}
    boxes = [(m.name, f"{m.title}, {m.unit}" if m.unit else m.title) for m in page.boxes]
    figures["metrics"] = metrics_figure(page.compared, boxes, [BOTH])
    for side in page.sides:
        figures[f"bland-altman_{SERIES_WORDS[side]}"] = bland_altman_figure(page.compared, page.tables["agreement"], side)
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


def _counts(page: EvaluationPage) -> list[dict[str, Any]]:
    once = page.scans.drop_duplicates(["scan", "method"])
    rows = []
    for method in page.methods:
        status = once[once["method"] == method]["status"].value_counts()
        row: dict[str, Any] = {"method": method}
        row |= {name: int(status.get(name, 0)) for name in ("compared", "missing", "unreadable")}
        rows.append(row | {"unused": len(page.unused.get(method, []))})
    return rows


def _resampled(page: EvaluationPage) -> list[dict[str, Any]]:
    """Methods on another grid than the truth, and what that grid alone costs."""
    compared = page.compared[(page.compared["hemisphere"] == BOTH) & (page.compared["part"] == WHOLE)]
    rows = compared[compared["resampled"] == "yes"]
    return [
        {"method": method, "n": len(part), "grid_dice": _number(float(part["grid_dice"].astype(float).mean()), 2)}
        for method, part in rows.groupby("method", sort=False)
    ]


def _noted(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Scans with the same note, together."""
    once = rows.drop_duplicates(["scan", "method"])
    return [
        {"method": keys[0], "status": keys[1], "note": keys[2], "n": len(part), "scans": ", ".join(part["scan"])}
        for keys, part in once.groupby(["method", "status", "note"], sort=False)
    ]


def _summary_rows(page: EvaluationPage, side: str) -> list[dict[str, Any]]:
    table = page.tables["summary"]
    titles = {m.name: f"{m.title}, {m.unit}" if m.unit else m.title for m in page.metrics}
    rows = []
    for row in _records(table, side):
        cells = {c: row.get(c) for c in ("truth", *page.methods)}
        rows.append({"title": titles[row["metric"]]} | {c: v if isinstance(v, str) else "" for c, v in cells.items()})
    return rows


def _ranking_rows(page: EvaluationPage) -> list[dict[str, Any]]:
    if "ranking" not in page.tables:
        return []
    table = page.tables["ranking"]
    titles = {m.name: m.title for m in page.metrics}
    rows = []
    for metric, part in table[table["hemisphere"] == BOTH].groupby("metric", sort=False):
        order = "; ".join(f"{row['rank']}. {row['method']} ({row['mean_rank']:.2f})" for row in _records(part))
        p = part["friedman_p"].iloc[0]
        rows.append({"metric": titles[str(metric)], "order": order, "n": part["n"].iloc[0], "friedman": p_text(p)})
    return rows


def _comparison_rows(page: EvaluationPage) -> list[dict[str, Any]]:
    if "comparisons" not in page.tables:
        return []
    shown = {m.name: m for m in page.metrics}
    table = page.tables["comparisons"]
    return [
        {
            "metric": shown[row["metric"]].title,
            "pair": f"{row['first']} - {row['second']}",
            "difference": _interval(row, "difference", shown[row["metric"]].digits + 1),
            "test": row["test"],
            "p": p_text(row["p"]),
            "p_corrected": p_text(row["p_corrected"]),
        }
        for row in _records(table, BOTH)
    ]


def _agreement_rows(page: EvaluationPage, side: str) -> list[dict[str, Any]]:
    return [
        {
            "method": row["method"],
            "n": row["n"],
            "bias": _interval(row, "bias_mm3", 0),
            "limits": f"{_number(row['lower_limit_mm3'], 0)} to {_number(row['upper_limit_mm3'], 0)}",
            "icc_2_1": _interval(row, "icc_2_1", 2),
            "icc_3_1": _interval(row, "icc_3_1", 2),
            "r": _interval(row, "pearson_r", 2),
            "slope": _interval(row, "proportional_bias", 2),
            "cv": _number(row["cv_percent"], 1),
            "p": f"{p_text(row['p'])} ({_SHORT_TESTS.get(row['test'], row['test'])})",
        }
        for row in _records(page.tables["agreement"], side)
    ]


def _association_rows(page: EvaluationPage) -> list[dict[str, Any]]:
    if "associations" not in page.tables:
        return []
    table = page.tables["associations"]
    return [
        {
            "analysis": row["analysis"],
            "score": row["score"],
            "method": row["method"],
            "n": row["n"],
            "r": _interval(row, "pearson_r", 2),
            "p": p_text(row["pearson_p"]),
            "p_corrected": p_text(row["pearson_p_corrected"]),
            "rho": _number(row["spearman_rho"], 2),
            "rho_p": p_text(row["spearman_p"]),
        }
        for row in _records(table.sort_values(["analysis", "score"], kind="stable"), BOTH)
    ]


def _scan_rows(page: EvaluationPage) -> list[dict[str, Any]]:
    rows = page.scans[page.scans["status"] == "compared"]
    return [
        {"scan": row["scan"], "method": row["method"], "part": row["part"], "side": SERIES_WORDS[row["hemisphere"]]}
        | {"true_mm3": _number(row["true_mm3"], 0)}
        | {m.name: _number(row[m.name], m.digits) for m in page.metrics if m.name in rows}
        for row in _records(rows)
    ]


def _scan_columns(page: EvaluationPage) -> dict[str, str]:
    of_part = {"part": "Part"} if page.scans["part"].nunique() > 1 else {}
    first = {"scan": "Scan", "method": "Method", **of_part, "side": "Side", "true_mm3": "Truth, mm³"}
    return first | {m.name: f"{m.title}, {m.unit}" if m.unit else m.title for m in page.metrics if m.name in page.scans}


def p_text(p: float) -> str:
    """A p value as papers give it: three digits, ``< 0.001`` below, n/a if there is none."""
    if not np.isfinite(p):
        return "n/a"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "n/a"


def _interval(row: Mapping[str, Any], name: str, digits: int) -> str:
    value = _number(row[name], digits)
    if not np.isfinite(row[f"{name}_low"]):
        return value
    return f"{value} [{_number(row[f'{name}_low'], digits)}, {_number(row[f'{name}_high'], digits)}]"

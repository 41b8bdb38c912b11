"""Rows of the tables on the page of an evaluation, as texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bids_hypo.report.agreement_figures import SERIES_WORDS
from bids_hypo.structures import BOTH, WHOLE

if TYPE_CHECKING:
    from bids_hypo.report.evaluation_page import EvaluationPage

_SHORT_TESTS = {"paired t": "t", "Wilcoxon signed-rank": "W"}


def counts(page: EvaluationPage) -> list[dict[str, Any]]:
    """Scans of each method by what became of them."""
    once = page.scans.drop_duplicates(["scan", "method"])
    rows = []
    for method in page.methods:
        status = once[once["method"] == method]["status"].value_counts()
        row: dict[str, Any] = {"method": method}
        row |= {name: int(status.get(name, 0)) for name in ("compared", "missing", "unreadable")}
        rows.append(row | {"unused": len(page.unused.get(method, []))})
    return rows


def resampled(page: EvaluationPage) -> list[dict[str, Any]]:
    """Methods on another grid than the truth, and what that grid alone costs."""
    compared = page.compared[(page.compared["hemisphere"] == BOTH) & (page.compared["part"] == WHOLE)]
    rows = compared[compared["resampled"] == "yes"]
    return [
        {"method": method, "n": len(part), "grid_dice": number(float(part["grid_dice"].astype(float).mean()), 2)}
        for method, part in rows.groupby("method", sort=False)
    ]


def noted(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Scans with the same note, together."""
    once = rows.drop_duplicates(["scan", "method"])
    return [
        {"method": keys[0], "status": keys[1], "note": keys[2], "n": len(part), "scans": ", ".join(part["scan"])}
        for keys, part in once.groupby(["method", "status", "note"], sort=False)
    ]


def summary_rows(page: EvaluationPage, side: str) -> list[dict[str, Any]]:
    """Mean and SD of each metric on a side, a column a method."""
    table = page.tables["summary"]
    titles = {m.name: f"{m.title}, {m.unit}" if m.unit else m.title for m in page.metrics}
    rows = []
    for row in records(table, side):
        cells = {c: row.get(c) for c in ("truth", *page.methods)}
        rows.append({"title": titles[row["metric"]]} | {c: v if isinstance(v, str) else "" for c, v in cells.items()})
    return rows


def ranking_rows(page: EvaluationPage) -> list[dict[str, Any]]:
    """Methods in order, for each metric; none with one method."""
    if "ranking" not in page.tables:
        return []
    table = page.tables["ranking"]
    titles = {m.name: m.title for m in page.metrics}
    rows = []
    for metric, part in table[table["hemisphere"] == BOTH].groupby("metric", sort=False):
        order = "; ".join(f"{row['rank']}. {row['method']} ({row['mean_rank']:.2f})" for row in records(part))
        p = part["friedman_p"].iloc[0]
        rows.append({"metric": titles[str(metric)], "order": order, "n": part["n"].iloc[0], "friedman": p_text(p)})
    return rows


def comparison_rows(page: EvaluationPage) -> list[dict[str, Any]]:
    """Pairs of methods; none with one method."""
    if "comparisons" not in page.tables:
        return []
    shown = {m.name: m for m in page.metrics}
    table = page.tables["comparisons"]
    return [
        {
            "metric": shown[row["metric"]].title,
            "pair": f"{row['first']} - {row['second']}",
            "difference": interval(row, "difference", shown[row["metric"]].digits + 1),
            "test": row["test"],
            "p": p_text(row["p"]),
            "p_corrected": p_text(row["p_corrected"]),
        }
        for row in records(table, BOTH)
    ]


def agreement_rows(page: EvaluationPage, side: str) -> list[dict[str, Any]]:
    """Agreement of volumes on a side, a row a method."""
    return [
        {
            "method": row["method"],
            "n": row["n"],
            "bias": interval(row, "bias_mm3", 0),
            "limits": f"{number(row['lower_limit_mm3'], 0)} to {number(row['upper_limit_mm3'], 0)}",
            "icc_2_1": interval(row, "icc_2_1", 2),
            "icc_3_1": interval(row, "icc_3_1", 2),
            "r": interval(row, "pearson_r", 2),
            "slope": interval(row, "proportional_bias", 2),
            "cv": number(row["cv_percent"], 1),
            "p": f"{p_text(row['p'])} ({_SHORT_TESTS.get(row['test'], row['test'])})",
        }
        for row in records(page.tables["agreement"], side)
    ]


def association_rows(page: EvaluationPage) -> list[dict[str, Any]]:
    """Correlations with scores; none without scores."""
    if "associations" not in page.tables:
        return []
    table = page.tables["associations"]
    return [
        {
            "analysis": row["analysis"],
            "score": row["score"],
            "method": row["method"],
            "n": row["n"],
            "r": interval(row, "pearson_r", 2),
            "p": p_text(row["pearson_p"]),
            "p_corrected": p_text(row["pearson_p_corrected"]),
            "rho": number(row["spearman_rho"], 2),
            "rho_p": p_text(row["spearman_p"]),
        }
        for row in records(table.sort_values(["analysis", "score"], kind="stable"), BOTH)
    ]


def association_comparison_rows(page: EvaluationPage) -> list[dict[str, Any]]:
    """Pairs of methods, by their correlations with scores; none without scores."""
    if "association_comparisons" not in page.tables:
        return []
    return [
        {
            "analysis": row["analysis"],
            "score": row["score"],
            "pair": f"{row['first']} - {row['second']}",
            "n": row["n"],
            "r": f"{number(row['r_first'], 2)} / {number(row['r_second'], 2)}",
            "difference": interval(row, "difference", 2),
            "p": p_text(row["p"]),
            "p_corrected": p_text(row["p_corrected"]),
        }
        for row in records(page.tables["association_comparisons"])
    ]


def scan_rows(page: EvaluationPage) -> list[dict[str, Any]]:
    """Every scan that was compared."""
    rows = page.scans[page.scans["status"] == "compared"]
    return [
        {"scan": row["scan"], "method": row["method"], "part": row["part"], "side": SERIES_WORDS[row["hemisphere"]]}
        | {"true_mm3": number(row["true_mm3"], 0)}
        | {m.name: number(row[m.name], m.digits) for m in page.metrics if m.name in rows}
        for row in records(rows)
    ]


def scan_columns(page: EvaluationPage) -> dict[str, str]:
    """Headings of `scan_rows`."""
    of_part = {"part": "Part"} if page.scans["part"].nunique() > 1 else {}
    first = {"scan": "Scan", "method": "Method", **of_part, "side": "Side", "true_mm3": "Truth, mm³"}
    return first | {m.name: f"{m.title}, {m.unit}" if m.unit else m.title for m in page.metrics if m.name in page.scans}


def p_text(p: float) -> str:
    """A p value as papers give it: three digits, ``< 0.001`` below, n/a if there is none."""
    if not np.isfinite(p):
        return "n/a"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def number(value: float, digits: int) -> str:
    """With so many digits; n/a if there is none."""
    return f"{value:.{digits}f}" if np.isfinite(value) else "n/a"


def interval(row: Mapping[str, Any], name: str, digits: int) -> str:
    """A value with its interval in brackets."""
    value = number(row[name], digits)
    if not np.isfinite(row[f"{name}_low"]):
        return value
    return f"{value} [{number(row[f'{name}_low'], digits)}, {number(row[f'{name}_high'], digits)}]"


def records(table: pd.DataFrame, hemisphere: str | None = None) -> list[dict[str, Any]]:
    """Rows as dicts, of one hemisphere or of all."""
    part = table if hemisphere is None else table[table["hemisphere"] == hemisphere]
    return [{str(k): v for k, v in row.items()} for row in part.to_dict("records")]


def spread(row: Mapping[str, Any], digits: int) -> str:
    """Mean and SD."""
    sd = f" ± {row['sd']:.{digits}f}" if np.isfinite(row["sd"]) else ""
    return f"{number(row['mean'], digits)}{sd}"

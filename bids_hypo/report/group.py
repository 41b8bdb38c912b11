"""The page of the group level: tables, figures and texts in one file that works without a network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from bids_hypo.bids.plausible import is_age_column
from bids_hypo.report.group_change import over_time_sections
from bids_hypo.report.group_plots import box_plots, scatter_plot, time_plot
from bids_hypo.report.group_study import (
    SAMPLE_NAMES,
    GroupStudy,
    interval,
    known,
    number,
    p_text,
    unit_of,
    with_sd,
)
from bids_hypo.report.group_text import methods_text, sensitivity_lines, software, summary_sentences
from bids_hypo.report.html import write_page
from bids_hypo.stats.ancova import SLOPES
from bids_hypo.stats.table import ICV, VOLUME

__all__ = ["GroupStudy", "write_group_report"]

MAX_LISTED = 200


def write_group_report(studies: Sequence[GroupStudy], path: Path, remarks: Sequence[str] = ()) -> None:
    """Write the page: a section for each structure, kind of image and part.

    Parameters
    ----------
    studies : sequence of GroupStudy
        One at least, all of the same run.
    path : Path
        In the folder of the subjects' pages, so that links work.
    remarks : sequence of str
        What a reader has to know about all series.
    """
    first = studies[0]
    text, references = methods_text(studies)
    sections = [_section(study, f"{study.key}-" if len(studies) > 1 else "") for study in studies]
    drawings = {name: figure for section in sections for name, (figure, _) in section["figures"].items()}
    write_page(
        path, "group.html", study=first, groups=first.design.groups, sections=sections,
        titles=list(dict.fromkeys(study.title for study in studies)), methods=text, references=references,
        remarks=remarks, versions=software(), sample=SAMPLE_NAMES[first.design.primary_sample], people=_people(first),
        plotly=Markup(get_plotlyjs()), drawings=Markup(_json(drawings)),
    )  # fmt: skip


def _section(study: GroupStudy, prefix: str) -> dict[str, Any]:
    """What the page says of one series; figures by the ids of their places, which begin with the prefix."""
    return {
        "prefix": prefix, "what": study.what, "summary": summary_sentences(study),
        "remarks": study.remarks, "counts": _counts(study), "comparisons": _comparisons(study),
        "samples": _samples(study), "all_three": _all_three(study), "omnibus": _omnibus(study),
        "models": _models(study, "ancova"), "at_sites": _models(study, "site_mixed_model"), "sides": _sides(study),
        "associations": _associations(study), "over_time": _over_time(study),
        **over_time_sections(study), "icv_errors": _icv_errors(study),
        "power": _power(study), "listed": _listed(study), "not_tested": _not_tested(study),
        "main": study.names[study.main_measure],
        "figures": {f"{prefix}{name}": figure for name, figure in _figures(study).items()},
    }  # fmt: skip


def _json(figures: dict[str, go.Figure]) -> str:
    """Figures for a script element: nothing in them may close it."""
    content = {name: json.loads(str(figure.to_json())) for name, figure in figures.items()}
    return json.dumps(content, sort_keys=True).replace("<", "\\u003c")


def _figures(study: GroupStudy) -> dict[str, tuple[go.Figure, str]]:
    """Figures by the id of their place, with a caption."""
    main, what = study.main_measure, f"{study.what[:1].upper()}{study.what[1:]}"
    boxes = (
        "Box: quartiles and median; diamond: mean; whiskers: to the last point within 1.5 IQR. Crosses are outliers, "
        "not part of the boxes. Each point is a participant; hold the mouse over it to see who it is, click to open "
        "the page of the scan."
    )
    found: dict[str, tuple[go.Figure | None, str]] = {
        "boxes": (box_plots(study), boxes),
        "icv": (scatter_plot(study, ICV, VOLUME), f"{what}: volume against ICV, with each group's line."),
    }  # fmt: skip
    for age in [str(name) for name in study.table if is_age_column(str(name))][:1]:
        found["age"] = scatter_plot(study, age, main, "Age (years)"), "Volume against age, with each group's line."
    for k, score in enumerate(study.design.scores):
        rows = study.sample[study.sample["group"].isin(study.design.groups.cases)]
        if rows[score].notna().sum() >= 3:
            found[f"score{k}"] = scatter_plot(study, score, main, score), f"Volume against {score}, not adjusted."
    found["time"] = time_plot(study), "Volume of each participant in percent of the first scan."
    return {name: (figure, caption) for name, (figure, caption) in found.items() if figure is not None}


def _counts(study: GroupStudy) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in study.counts.to_dict("records")]


def _people(study: GroupStudy) -> list[dict[str, Any]]:
    """Age, sex and other covariates of the tested participants, group by group."""
    out = []
    names = dict.fromkeys([*(c for c in ("age", "sex", "gender") if c in study.table), *study.design.covariates])
    for name in names:
        line: dict[str, Any] = {"name": name}
        for group in study.design.groups.all:
            values = study.tested.loc[study.tested["group"] == group, name].dropna()
            if pd.api.types.is_numeric_dtype(values):
                extent = f"{number(values.min(), 0)} to {number(values.max(), 0)}"
                line[group] = f"{number(values.mean())} ± {number(values.std())} ({extent})" if len(values) else "n/a"
            else:
                line[group] = ", ".join(f"{level}: {n}" for level, n in values.value_counts().sort_index().items())
        out.append(line)
    return out


def _comparisons(study: GroupStudy) -> list[dict[str, Any]]:
    out = []
    for row in study.rows("comparison"):
        unit, scale, _ = unit_of(row["measure"])
        out.append({
            "measure": study.names[row["measure"]] + (f", {unit}" if unit != "mm³" else ""),
            "pair": f"{row['group_a']} − {row['group_b']}",
            "n": f"{int(row['n_a'])} / {int(row['n_b'])}", "a": with_sd(row, "a"), "b": with_sd(row, "b"),
            "difference": interval(row, "estimate", 1, scale), "percent": interval(row, "percent"),
            "g": interval(row, "hedges_g", 2), "test": row["test"], "p": p_text(row["p"]),
            "holm": p_text(row["p_holm"]), "fdr": p_text(row["p_fdr"]),
        })  # fmt: skip
    return out


def _samples(study: GroupStudy) -> list[dict[str, Any]]:
    lines = sensitivity_lines(study)
    above = {study.design.primary_sample: " (reported above)"}
    return [
        line | {"sample": SAMPLE_NAMES[line["sample"]] + above.get(line["sample"], ""), "p": p_text(line["p"]),
                "p_holm": p_text(line["p_holm"])}
        for line in lines
    ]  # fmt: skip


def _all_three(study: GroupStudy) -> list[dict[str, Any]]:
    return [
        {
            "measure": study.names[row["measure"]], "pair": f"{row['group_a']} − {row['group_b']}",
            "test": row["test"], "statistic": number(row["statistic"], 2), "df": number(row["df"]),
            "p": p_text(row["p"]), "normal": f"{p_text(row['p_normal_a'])} / {p_text(row['p_normal_b'])}",
            "variance": p_text(row["p_equal_variance"]), "why": row["reason"] if row["chosen"] else "",
        }
        for row in study.rows("comparison", chosen=False)
    ]  # fmt: skip


def _omnibus(study: GroupStudy) -> list[dict[str, Any]]:
    return [
        {"measure": study.names[row["measure"]], "test": row["test"], "n": int(row["n_a"]),
         "statistic": number(row["statistic"], 2), "p": p_text(row["p"]), "holm": p_text(row["p_holm"]),
         "why": row["reason"]}
        for row in study.rows("omnibus")
    ]  # fmt: skip


def _models(study: GroupStudy, analysis: str) -> list[dict[str, Any]]:
    """Differences adjusted by a linear model (ancova) or a mixed model of the sites."""
    out = []
    for row in study.rows(analysis):
        scale = unit_of(row["measure"])[1]
        out.append({
            "measure": study.names[row["measure"]], "pair": f"{row['group_a']} − {row['group_b']}",
            "by": _by(row),
            "n": f"{int(row['n_a'])} / {int(row['n_b'])}", "difference": interval(row, "estimate", 1, scale),
            "percent": interval(row, "percent"), "p": p_text(row["p"]), "holm": p_text(row["p_holm"]),
            "slopes": _slopes(row)[0], "note": _slopes(row)[1],
        })  # fmt: skip
    return out


def _by(row: dict) -> str:
    """What was held equal."""
    text = row["adjusted_for"]
    return text.replace(ICV, "ICV") if isinstance(text, str) else "nothing"


def _slopes(row: dict) -> tuple[str, str]:
    """The p of equal slopes, and what else the note of a model says."""
    parts = row["note"].split("; ") if isinstance(row["note"], str) else []
    slopes = [part.removeprefix(SLOPES) for part in parts if part.startswith(SLOPES)]
    return "".join(slopes), "; ".join(part for part in parts if not part.startswith(SLOPES))


def _sides(study: GroupStudy) -> list[dict[str, Any]]:
    return [
        {"group": row["group_a"], "left": with_sd(row, "a"), "right": with_sd(row, "b"),
         "difference": interval(row, "estimate"), "percent": interval(row, "percent"), "test": row["test"],
         "p": p_text(row["p"]), "holm": p_text(row["p_holm"])}
        for row in study.rows("asymmetry")
    ]  # fmt: skip


def _associations(study: GroupStudy) -> list[dict[str, Any]]:
    return [
        {"score": row["term"], "measure": study.names[row["measure"]], "group": row["group_a"],
         "by": _by(row), "n": int(row["n_a"]),
         "r": interval(row, "estimate", 2), "test": row["test"], "p": p_text(row["p"]), "holm": p_text(row["p_holm"]),
         "note": row["note"] if isinstance(row["note"], str) else ""}
        for row in study.rows("association")
    ]  # fmt: skip


def _over_time(study: GroupStudy) -> list[dict[str, Any]]:
    return [
        {"measure": study.names[row["measure"]], "what": f"change of {row['group_a']}" if row["term"] == "years"
         else f"{row['group_a']} against {row['group_b']}", "n": int(row["n_a"]),
         "change": interval(row, "estimate", 2), "p": p_text(row["p"]), "holm": p_text(row["p_holm"]),
         "note": row["note"]}
        for row in study.rows("longitudinal")
    ]  # fmt: skip


def _icv_errors(study: GroupStudy) -> list[dict[str, Any]]:
    return [
        {"note": row["note"], "percent": interval(row, "percent"), "p": p_text(row["p"])}
        for row in study.rows("icv_error")
    ]


def _power(study: GroupStudy) -> list[dict[str, Any]]:
    return [
        {"measure": study.names[row["measure"]], "pair": f"{row['group_a']} − {row['group_b']}",
         "g": number(row["hedges_g"], 2), "power": f"{number(100 * row['power'], 0)} %",
         "needed": str(int(row["n_per_group_for_80_percent"])) if known(row["n_per_group_for_80_percent"]) else "n/a"}
        for row in study.rows("comparison")
    ]  # fmt: skip


def _listed(study: GroupStudy) -> list[dict[str, Any]]:
    """Scans to look at: outliers and flagged ones of the tested, with a link to their page."""
    tested = study.tested
    rows = tested[tested["outlier"] | tested["flagged"]].sort_values(["outlier", "scan"], ascending=[False, True])
    return [_scan_line(study, row) for row in rows.head(MAX_LISTED).to_dict("records")]


def _scan_line(study: GroupStudy, row: dict) -> dict[str, Any]:
    flags = [*row["flags"], *(["icv_doubtful"] if row["icv_doubtful"] else [])]
    return {
        "scan": str(row["scan"]).removesuffix("_T1w"),
        "report": row["report"] if isinstance(row["report"], str) else "",
        "group": row["group"] if isinstance(row["group"], str) else "n/a", "volume": number(row[VOLUME], 0),
        "normalised": number(row["normalised_mm3"], 0), "icv": number(row[ICV] / 1000, 0),
        "outlier": ", ".join(study.names[m] for m in str(row["outlier_of"]).split(";")) if row["outlier"] else "",
        "flags": ", ".join(flags).replace("_", " "),
    }  # fmt: skip


def _not_tested(study: GroupStudy) -> list[dict[str, Any]]:
    """Scans that take no part in the tests between groups, and why."""
    rows = study.table[~study.table["tested"]].sort_values("scan")
    return [_scan_line(study, row) | {"why": row["not_tested"]} for row in rows.head(MAX_LISTED).to_dict("records")]

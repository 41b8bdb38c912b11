"""The table of a comparison of encoders, laid out like Table 1 of Vernikouskaya et al. (2023), theirs beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_hypo.files import read_json
from bids_hypo.report.evaluation_rows import number, p_text
from bids_hypo.structures import BOTH, WHOLE
from bids_hypo.workflow.evaluation_columns import column_dictionary
from bids_hypo.workflow.evaluation_tables import METRICS, mean_sd

HERE = "here"
_SHOWN = ("iou", "precision", "recall", "dice", "hausdorff95_mm")
_OF_VOLUMES = ("bias_mm3", "lower_limit_mm3", "upper_limit_mm3", "shapiro_p", "test", "p")


def paper() -> dict[str, Any]:
    """What the paper measured."""
    return read_json(Path(str(files("bids_hypo") / "report" / "vernikouskaya2023.json")))


def comparison_table(
    tables: Mapping[str, pd.DataFrame], names: Sequence[str], n_scans: int, n_segmented: Mapping[str, int],
    ms_per_slice: Mapping[str, float],
) -> pd.DataFrame:  # fmt: skip
    """One row an encoder, and one for each of them that the paper has.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Of the evaluation: ``metrics`` and ``agreement``, and ``scans``, its rows.
    names : sequence of str
        The encoders.
    n_scans : int
        Scans of the people set aside.
    n_segmented : mapping of str to int
        In how many of them each encoder found the structure.
    ms_per_slice : mapping of str to float

    Returns
    -------
    DataFrame
        The columns are explained by `comparison_columns`.
    """
    rows = []
    for name in names:
        row: dict[str, Any] = {"method": name, "source": HERE, "n_scans": n_scans, "n_segmented": n_segmented[name]}
        of_volumes = whole_of(tables["agreement"], name)
        row["n"] = int(of_volumes["n"].iloc[0]) if len(of_volumes) else 0
        metrics = whole_of(tables["metrics"], name).set_index("metric")
        for metric in (*_SHOWN, "volume_mm3"):
            both = ("mean", "sd")
            row |= {f"{metric}_{k}": metrics.loc[metric, k] if metric in metrics.index else np.nan for k in both}
        true = whole_of(tables["scans"], name)["true_mm3"].astype(float)
        row |= {"true_mm3_mean": true.mean(), "true_mm3_sd": true.std(), "ms_per_slice": ms_per_slice[name]}
        rows.append(row | {k: of_volumes[k].iloc[0] if len(of_volumes) else None for k in _OF_VOLUMES})
    table = pd.DataFrame([*rows, *_rows_of_paper(names)])
    return table[list(comparison_columns())]


def whole_of(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of an encoder or training that are about the whole structure, both sides together."""
    return table[(table["method"] == name) & (table["part"] == WHOLE) & (table["hemisphere"] == BOTH)]


def _rows_of_paper(names: Sequence[str]) -> list[dict[str, Any]]:
    told, rows = paper(), []
    for name in names:
        if name in told["encoders"]:
            row = {
                "method": name,
                "source": told["source"],
                "n_scans": told["n"],
                "n_segmented": told["n"],
                "n": told["n"],
            }
            values = {**told["encoders"][name], "true_mm3": told["true_mm3"]}
            for key, value in values.items():
                row |= {f"{key}_mean": value[0], f"{key}_sd": value[1]} if isinstance(value, list) else {key: value}
            rows.append(row)
    return rows


def comparison_columns() -> dict[str, dict[str, Any]]:
    """What the columns of the table mean."""
    scans, agreement = column_dictionary("scans"), column_dictionary("agreement")
    columns = {
        "method": {"Description": "Encoder"},
        "source": {"Description": f"{HERE}: measured in this comparison; else where the figures were published"},
        "n_scans": {"Description": "Scans of the people set aside"},
        "n_segmented": {"Description": "Scans in which the structure was found"},
        "n": {"Description": "Scans that the figures are about: those that all encoders found"},
    }
    for name in (*_SHOWN, "volume_mm3", "true_mm3"):
        told = scans[name]
        columns[f"{name}_mean"] = {**told, "Description": f"Mean: {told['Description']}"}
        columns[f"{name}_sd"] = {**told, "Description": f"Standard deviation: {told['Description']}"}
    columns["ms_per_slice"] = {"Description": "Time of one network for one slice, one pass", "Units": "ms"}
    return columns | {name: agreement[name] for name in _OF_VOLUMES}


def comparison_page(table: pd.DataFrame, about: Sequence[str]) -> str:
    """The table in Markdown, a row a measure and a column an encoder, beside each that of the paper.

    Parameters
    ----------
    table : DataFrame
        Of `comparison_table`.
    about : sequence of str
        Sentences about what was compared.
    """
    told = paper()
    ours = table[table["source"] == HERE].to_dict("records")
    theirs = {row["method"]: row for row in table[table["source"] != HERE].to_dict("records")}
    columns, rows = [""], []
    for row in ours:
        columns.append(str(told["encoders"].get(row["method"], {}).get("title", row["method"])))
        columns += ["paper"] if row["method"] in theirs else []
    every = [each for row in ours for each in (row, theirs.get(row["method"])) if each is not None]
    for title, cell in _cells().items():
        rows.append([title, *(cell(row) for row in every)])
    return markdown_table(columns, rows) + "\n" + "".join(f"- {text}\n" for text in (*about, *told["notes"]))


def _cells() -> dict[str, Any]:
    """For each row of the page its title, and what makes its cell."""
    shown = {m.name: m for m in METRICS}

    def spread(name: str, digits: int) -> Any:
        return lambda row: mean_sd(row[f"{name}_mean"], row[f"{name}_sd"], digits) or ""

    def limits(row: Mapping[str, Any]) -> str:
        if not np.isfinite(row["bias_mm3"]):
            return ""
        low, high = (number(row[f"{which}_limit_mm3"], 0) for which in ("lower", "upper"))
        return f"{number(row['bias_mm3'], 0)} ({low} to {high})"

    def test(row: Mapping[str, Any]) -> str:
        return f"{p_text(row['p'])} ({row['test']})" if isinstance(row["test"], str) else ""

    metrics = {
        f"{m.title}{', ' if m.unit else ''}{m.unit}": spread(m.name, m.digits) for m in map(shown.__getitem__, _SHOWN)
    }
    return {
        **metrics,
        "Time a slice, ms": lambda row: number(row["ms_per_slice"], 1),
        "Volume, mm³": spread("volume_mm3", 0),
        "True volume, mm³": spread("true_mm3", 0),
        "Volume minus truth, mm³ (limits of agreement)": limits,
        "p, paired (test)": test,
        "Scans segmented": lambda row: f"{row['n_segmented']:.0f} of {row['n_scans']:.0f}",
        "Scans above": lambda row: f"{row['n']:.0f}",
    }


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)

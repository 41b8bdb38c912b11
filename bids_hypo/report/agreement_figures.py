"""Figures of an evaluation: Bland-Altman plots, metrics of every scan, correlations with scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bids_hypo.structures import BOTH, LEFT, RIGHT, SIDE_WORDS, WHOLE

# Okabe-Ito, safe for colour-blind readers
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SERIES_WORDS = {BOTH: WHOLE, **{side: SIDE_WORDS[side] for side in (LEFT, RIGHT)}}
_PER_ROW = 3


def colour(index: int) -> str:
    """Colour of the n-th method."""
    return COLOURS[index % len(COLOURS)]


def bland_altman_figure(scans: pd.DataFrame, agreement: pd.DataFrame, hemisphere: str) -> Figure:
    """Difference against mean of predicted and true volumes, one panel a method, with confidence bands.

    Parameters
    ----------
    scans : DataFrame
        One row a scan, method and hemisphere, with true_mm3 and volume_mm3.
    agreement : DataFrame
        Bias and limits for each method and hemisphere.
    hemisphere : str
        B, L or R.

    Returns
    -------
    Figure
        All panels share their axes.
    """
    rows = agreement[agreement["hemisphere"] == hemisphere]
    n_columns = min(_PER_ROW, len(rows))
    n_rows = -(-len(rows) // n_columns)
    figure = Figure(figsize=(4.6 * n_columns + 0.4, 3.6 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True).ravel()
    methods = list(agreement["method"].unique())
    for ax, (_, row) in zip(panels, rows.iterrows(), strict=False):
        part = scans[(scans["method"] == row["method"]) & (scans["hemisphere"] == hemisphere)]
        _bland_altman(ax, part, row, colour(methods.index(row["method"])))
        ax.set_title(f"{row['method']}, {SERIES_WORDS[hemisphere]} (n = {row['n']})", fontsize=10)
        ax.set_xlabel("mean of prediction and truth, mm³")
    for ax in panels[::n_columns]:
        ax.set_ylabel("prediction - truth, mm³")
    for ax in panels[len(rows) :]:
        ax.set_visible(False)
    return figure


def _bland_altman(ax: Axes, part: pd.DataFrame, row: pd.Series, point_colour: str) -> None:
    found, true = part["volume_mm3"].to_numpy(float), part["true_mm3"].to_numpy(float)
    ax.axhline(0, color="0.75", linewidth=0.8, zorder=0)
    for name, style in (("bias_mm3", "-"), ("lower_limit_mm3", "--"), ("upper_limit_mm3", "--")):
        if not np.isfinite(row[name]):
            continue
        ax.axhline(row[name], color="0.25", linestyle=style, linewidth=1.2)
        if np.isfinite(row[f"{name}_low"]):
            ax.axhspan(row[f"{name}_low"], row[f"{name}_high"], color="0.5", alpha=0.16, linewidth=0)
        ax.annotate(f"{row[name]:.0f}", (1, row[name]), xycoords=("axes fraction", "data"), xytext=(-3, 2),
                    textcoords="offset points", ha="right", va="bottom", fontsize=8, color="0.25")  # fmt: skip
    ax.scatter((found + true) / 2, found - true, s=26, color=point_colour, edgecolor="white", linewidth=0.5, zorder=3)


def metrics_figure(scans: pd.DataFrame, metrics: Sequence[tuple[str, str]], hemispheres: Sequence[str]) -> Figure:
    """Box plots with every scan as a point: one panel a metric, one group a method and hemisphere.

    Parameters
    ----------
    scans : DataFrame
    metrics : sequence of (column, title)
    hemispheres : sequence of str

    Returns
    -------
    Figure
        Line: median; diamond: mean; box: quartiles; whiskers: 1.5 interquartile ranges.
    """
    methods = list(scans["method"].unique())
    groups = [(m, h) for m in methods for h in hemispheres if _group(scans, m, h).size]
    n_columns = min(len(metrics), 4 if len(groups) < 5 else 2)
    n_rows = -(-len(metrics) // n_columns)
    width = max(2.7, 0.62 * len(groups) + 1.0)
    figure = Figure(figsize=(width * n_columns, 3.5 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for ax, (column, title) in zip(panels, metrics, strict=False):
        values = [_group(scans, m, h, column) for m, h in groups]
        _boxes(ax, values, [colour(methods.index(m)) for m, _ in groups])
        names = [m if len(hemispheres) == 1 else f"{m} {h}" for m, h in groups]
        slanted = len(groups) * max(map(len, names)) > 24
        ax.set_xticks(range(len(groups)), names, rotation=35 if slanted else 0, ha="right" if slanted else "center")
        ax.set_title(title, fontsize=10)
        if "error" in column:
            ax.axhline(0, color="0.75", linewidth=0.8, zorder=0)
    for ax in panels[len(metrics) :]:
        ax.set_visible(False)
    return figure


def _group(scans: pd.DataFrame, method: str, hemisphere: str, column: str = "dice") -> np.ndarray:
    part = scans[(scans["method"] == method) & (scans["hemisphere"] == hemisphere)]
    values = part[column].to_numpy(float)
    return values[np.isfinite(values)]


def _boxes(ax: Axes, values: Sequence[np.ndarray], colours: Sequence[str]) -> None:
    rng = np.random.default_rng(0)
    positions = list(range(len(values)))
    ax.boxplot(values, positions=positions, widths=0.55, showmeans=True, showfliers=False,
               medianprops={"color": "black"}, boxprops={"color": "0.4"}, whiskerprops={"color": "0.4"},
               capprops={"color": "0.4"},
               meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": "black", "markersize": 5},
               )  # fmt: skip
    for position, points, point_colour in zip(positions, values, colours, strict=True):
        aside = position + rng.uniform(-0.17, 0.17, len(points))
        ax.scatter(aside, points, s=16, color=point_colour, alpha=0.75, linewidth=0, zorder=3)
    ax.set_xlim(-0.6, len(values) - 0.4)
    ax.tick_params(labelsize=8)


def associations_figure(associations: pd.DataFrame, analysis: str, hemisphere: str = BOTH) -> Figure:
    """Pearson correlations with their intervals, one line a score, one colour a method (the truth is black).

    Parameters
    ----------
    associations : DataFrame
        Of one evaluation.
    analysis, hemisphere : str
        Which rows.

    Returns
    -------
    Figure
    """
    part = associations[(associations["analysis"] == analysis) & (associations["hemisphere"] == hemisphere)]
    methods = list(part["method"].unique())
    part = part[part["pearson_r"].notna()]
    scores = list(part["score"].unique())
    figure = Figure(figsize=(7.6, 1.1 + len(scores) * (0.16 + 0.13 * len(methods))), layout="constrained")
    ax = figure.subplots()
    step = 0.7 / max(len(methods), 1)
    for n, method in enumerate(methods):
        of_method = part[part["method"] == method].set_index("score").reindex(scores)
        y = np.arange(len(scores)) + (n - (len(methods) - 1) / 2) * step
        r = of_method["pearson_r"].to_numpy(float)
        spread = np.abs(np.vstack([of_method["pearson_r_low"], of_method["pearson_r_high"]]).astype(float) - r)
        ax.errorbar(r, y, xerr=spread, fmt="o", markersize=4, capsize=2, linewidth=1.1, label=method,
                    color="black" if n == 0 else colour(n - 1))  # fmt: skip
    ax.axvline(0, color="0.75", linewidth=0.8, zorder=0)
    ax.set_yticks(range(len(scores)), scores)
    ax.set_ylim(max(len(scores), 1) - 0.4, -0.6)
    ax.set_xlim(-1, 1)
    ax.set_xlabel("correlation of the volume with the score, with 95 % interval")
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return figure

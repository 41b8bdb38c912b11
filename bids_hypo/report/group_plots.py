"""Figures of the group level: interactive ones for the page, still ones for a paper."""

from __future__ import annotations

import html
import io
import textwrap
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from plotly.subplots import make_subplots
from scipy import stats

from bids_hypo.image.volume import write_bytes
from bids_hypo.report.group_study import GroupStudy, unit_of
from bids_hypo.report.html import NO_FORMULAS, png_bytes
from bids_hypo.stats.longitudinal import choose_repeated
from bids_hypo.stats.table import ICV, NORMALISED, VOLUME
from bids_hypo.structures import capitalised
from bids_hypo.untrusted import visible

# Okabe and Ito's colours, told apart with every kind of colour vision; controls are always the blue.
CONTROL_COLOUR = "#0072B2"
CASE_COLOURS = ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")
BOXED = (NORMALISED, VOLUME, ICV)
_LINE = 32  # letters of a title
_PALE = "rgba(0,0,0,0.03)"
_FONT = {"family": 'system-ui, "Segoe UI", Arial, sans-serif', "size": 13}


def colours(study: GroupStudy) -> dict[str, str]:
    """Colour of each group."""
    groups = study.design.groups
    cases = {name: CASE_COLOURS[i % len(CASE_COLOURS)] for i, name in enumerate(groups.cases)}
    return cases | {groups.control: CONTROL_COLOUR}


def title_of(study: GroupStudy, measure: str) -> str:
    """Axis title: what it is and its unit, in lines that fit beside each other."""
    name = study.names.get(measure, measure)
    return "\n".join(textwrap.wrap(f"{capitalised(name)} ({unit_of(measure)[0]})", _LINE))


def _lines(title: str) -> str:
    """A title for plotly."""
    return "<br>".join(plain(line) for line in title.split("\n"))


def plain(text: object) -> str:
    """A text for plotly, which takes some markup in names and labels for what it says."""
    return html.escape(visible(str(text)), quote=False)


def hover(rows: pd.DataFrame, measure: str) -> list[str]:
    """What is shown over each point: who it is, the value, flags."""
    unit, scale, digits = unit_of(measure)
    out = []
    for row in rows.to_dict("records"):
        lines = [str(row["scan"]).removesuffix("_T1w"), f"{row[measure] * scale:.{digits}f} {unit}"]
        lines += [f"flags: {', '.join(row['flags'])}"] if row["flags"] else []
        lines += [f"outlier: {row['outlier_of'].replace(';', ', ')}"] if row["outlier"] else []
        out.append("<br>".join(map(plain, lines)))
    return out


def box_plots(study: GroupStudy) -> go.Figure:
    """Box plots with mean, median and every participant's point; outliers as crosses outside the boxes."""
    measures = [m for m in BOXED if study.tested[m].notna().any()]
    figure = make_subplots(cols=len(measures), subplot_titles=[_lines(title_of(study, m)) for m in measures])
    for column, measure in enumerate(measures, start=1):
        scale = unit_of(measure)[1]
        for k, (name, colour) in enumerate(colours(study).items()):
            inside = _of_group(study.sample, name, measure)
            size = 6 if len(inside) < 60 else 4
            figure.add_trace(go.Box(
                y=(inside[measure] * scale).tolist(), x=[plain(name)] * len(inside), name=plain(name), boxpoints="all",
                jitter=0.5, pointpos=0, whiskerwidth=0.4, marker={"color": colour, "size": size, "opacity": 0.5,
                "symbol": SYMBOLS[k % len(SYMBOLS)]}, line={"color": colour, "width": 1.6}, fillcolor=_PALE,
                text=hover(inside, measure), hoverinfo="text", hoveron="points", showlegend=False,
                customdata=_links(inside),
            ), row=1, col=column)  # fmt: skip
            if len(inside):
                mean = float(inside[measure].mean() * scale)
                figure.add_trace(_mean_mark(name, mean, colour, unit_of(measure)), row=1, col=column)
            outside = _of_group(study.tested[study.tested["outlier"]], name, measure)
            outside = outside[~outside.index.isin(inside.index)]
            figure.add_trace(go.Scatter(
                y=(outside[measure] * scale).tolist(), x=[plain(name)] * len(outside), mode="markers", showlegend=False,
                marker={"color": colour, "size": 9, "symbol": "x-thin", "line": {"width": 2, "color": colour}},
                text=hover(outside, measure), hoverinfo="text", customdata=_links(outside),
            ), row=1, col=column)  # fmt: skip
    return _styled(figure, 460)


def _mean_mark(name: str, mean: float, colour: str, unit: tuple[str, float, int]) -> go.Scatter:
    """White diamond at the mean."""
    return go.Scatter(
        x=[plain(name)], y=[mean], mode="markers", showlegend=False, hoverinfo="text",
        text=[plain(f"mean of {name}: {mean:.{unit[2]}f} {unit[0]}")],
        marker={"symbol": "diamond", "size": 11, "color": "white", "line": {"color": colour, "width": 2}},
    )  # fmt: skip


def _of_group(rows: pd.DataFrame, name: str, *columns: str) -> pd.DataFrame:
    return rows[rows["group"] == name].dropna(subset=list(columns))


def _links(rows: pd.DataFrame) -> list[str]:
    """Page of each scan; empty where there is none."""
    return [link if isinstance(link, str) else "" for link in rows["report"]]


def scatter_plot(study: GroupStudy, x: str, y: str, x_title: str | None = None) -> go.Figure | None:
    """Points of each group with their regression line; None if fewer than three scans have both values."""
    both = study.sample.dropna(subset=[x, y])
    if len(both) < 3:
        return None
    x_scale, y_scale = (unit_of(m)[1] if m.endswith("_mm3") else 1.0 for m in (x, y))
    figure = go.Figure()
    for k, (name, colour) in enumerate(colours(study).items()):
        here = _of_group(both, name)
        figure.add_trace(go.Scatter(
            x=(here[x] * x_scale).tolist(), y=(here[y] * y_scale).tolist(), mode="markers", name=plain(name),
            legendgroup=plain(name), marker={"color": colour, "size": 8, "opacity": 0.75,
            "symbol": SYMBOLS[k % len(SYMBOLS)]}, text=hover(here, y), hoverinfo="text", customdata=_links(here),
        ))  # fmt: skip
        ends = _line(here[x].to_numpy(float) * x_scale, here[y].to_numpy(float) * y_scale)
        if ends:
            figure.add_trace(go.Scatter(x=ends[0], y=ends[1], mode="lines", line={"color": colour, "width": 1.5},
                                        legendgroup=plain(name), showlegend=False, hoverinfo="skip"))  # fmt: skip
    figure.update_xaxes(title=plain(x_title) if x_title else _lines(title_of(study, x)))
    figure.update_yaxes(title=_lines(title_of(study, y)))
    return _styled(figure, 400)


def _line(x: np.ndarray, y: np.ndarray) -> tuple[list[float], list[float]] | None:
    if len(x) < 3 or np.ptp(x) == 0:
        return None
    fit = stats.linregress(x, y)
    ends = [float(x.min()), float(x.max())]
    return ends, [float(fit.intercept + fit.slope * e) for e in ends]


def time_plot(study: GroupStudy) -> go.Figure | None:
    """Each participant's volume in percent of the first scan, over the years."""
    repeated = choose_repeated(study.table[study.table["group"].isin(study.design.groups.all)])
    measure = study.main_measure
    repeated = repeated[repeated[measure] > 0]
    if repeated.empty:
        return None
    figure, shown = go.Figure(), set()
    for _, rows in repeated.groupby("participant_id", sort=True):
        name = str(rows["group"].iloc[0])
        percent = 100 * rows[measure] / rows[measure].iloc[0]
        texts = [f"{t}<br>{p:.1f} % of the first" for t, p in zip(hover(rows, measure), percent, strict=True)]
        figure.add_trace(go.Scatter(
            x=rows["years"].tolist(), y=percent.tolist(), mode="lines+markers", name=plain(name),
            legendgroup=plain(name), showlegend=name not in shown, line={"color": colours(study)[name], "width": 1},
            text=texts, hoverinfo="text", marker={"size": 6}, customdata=_links(rows),
        ))  # fmt: skip
        shown.add(name)
    figure.update_xaxes(title="Years since the first session")
    figure.update_yaxes(title=_lines(f"{title_of(study, measure).rpartition('(')[0].rstrip()}, % of first"))
    return _styled(figure, 400)


def _styled(figure: go.Figure, height: int) -> go.Figure:
    figure.update_layout(
        template="plotly_white", height=height, font=_FONT, margin={"l": 60, "r": 20, "t": 64, "b": 50},
        hoverlabel={"align": "left"}, legend={"orientation": "h", "y": 1.12, "x": 0},
    )  # fmt: skip
    figure.update_yaxes(zeroline=False)
    figure.update_xaxes(zeroline=False)
    return figure


def write_figures(study: GroupStudy, folder: Path, *, alone: bool) -> None:
    """Write the box plots and the scatter of volume against ICV as SVG and PNG, for a paper.

    Parameters
    ----------
    study : GroupStudy
    folder : Path
    alone : bool
        Whether it is the only series of the run; else the names of the files say which it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(NO_FORMULAS):
        _write_figures(study, folder, "" if alone else f"_{study.key}")


def _write_figures(study: GroupStudy, folder: Path, suffix: str) -> None:
    drawings = {"group_boxes": draw_boxes(study), "group_icv": _draw_scatter(study, ICV, VOLUME)}
    if "age" in study.table:
        drawings["group_age"] = _draw_scatter(study, "age", study.main_measure)
    for name, figure in drawings.items():
        if figure is not None:
            write_bytes(folder / f"{name}{suffix}.png", png_bytes(figure, dpi=200))
            write_bytes(folder / f"{name}{suffix}.svg", _svg(figure))


def draw_boxes(study: GroupStudy) -> Figure:
    """Still box plots: median as a line, mean as a white diamond, every participant a point, outliers crosses."""
    measures = [m for m in BOXED if study.tested[m].notna().any()]
    figure = Figure(figsize=(3.1 * len(measures), 3.6), layout="constrained")
    rng = np.random.default_rng(0)  # the points' sideways places are the same every time
    for axis, measure in zip(np.atleast_1d(figure.subplots(1, len(measures))), measures, strict=True):
        scale = unit_of(measure)[1]
        palette = colours(study)
        for place, (name, colour) in enumerate(palette.items()):
            values = (_of_group(study.sample, name, measure)[measure] * scale).to_numpy(float)
            style: dict[str, Any] = {"color": colour, "linewidth": 1.3}
            axis.boxplot([values], positions=[place], widths=0.55, showfliers=False, showmeans=True, boxprops=style,
                         medianprops=style | {"linewidth": 2}, whiskerprops=style, capprops=style,
                         meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": colour,
                                    "markersize": 6, "zorder": 5})  # fmt: skip
            across = place + rng.uniform(-0.16, 0.16, len(values))
            axis.plot(across, values, ".", color=colour, alpha=0.55, markersize=5)
            out = _of_group(study.tested.drop(study.sample.index), name, measure)[measure] * scale
            axis.plot([place] * len(out), out, "x", color=colour, markersize=6)
        axis.set_xticks(range(len(palette)), list(palette))
        axis.set_ylabel(title_of(study, measure))
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_scatter(study: GroupStudy, x: str, y: str) -> Figure | None:
    both = study.sample.dropna(subset=[x, y])
    if len(both) < 3:
        return None
    x_scale = unit_of(x)[1] if x.endswith("_mm3") else 1.0
    figure = Figure(figsize=(4.4, 3.6), layout="constrained")
    axis = figure.subplots()
    for name, colour in colours(study).items():
        here = _of_group(both, name)
        across, up = here[x].to_numpy(float) * x_scale, here[y].to_numpy(float)
        axis.plot(across, up, "o", color=colour, alpha=0.7, markersize=4, label=name)
        ends = _line(across, up)
        if ends:
            axis.plot(*ends, color=colour, linewidth=1.3)
    axis.set(xlabel="Age (years)" if x == "age" else title_of(study, x), ylabel=title_of(study, y))
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def _svg(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "bids_hypo", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()

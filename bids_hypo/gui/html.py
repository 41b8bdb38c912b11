"""Pieces of the page: messages, progress, tables. Whatever comes from a user is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import pandas as pd

from bids_hypo.gui.jobs import Stage
from bids_hypo.gui.results import flags_of, normalised_mm3
from bids_hypo.gui.texts import text
from bids_hypo.gui.views import Mask
from bids_hypo.report.flag_texts import describe_flags
from bids_hypo.structures import ICV

STAGES = ("read", "anatomy", "pose", "delineate", "restore", "measure", "write", "draw")

CSS = """
.notice { border-left: 4px solid #9a5b00; padding: 6px 12px; background: rgba(154, 91, 0, .09); }
.alert { border-left: 4px solid #b3261e; padding: 8px 12px; background: rgba(179, 38, 30, .09);
  overflow-wrap: anywhere; }
.good { border-left: 4px solid #1a7f37; padding: 6px 12px; background: rgba(26, 127, 55, .09); }
.doing { padding: 6px 0; } .doing progress { width: 100%; height: 14px; accent-color: #0b5cad; }
.doing .key span { white-space: nowrap; margin-right: 10px; }
.key i { display: inline-block; width: 18px; border-top: 3px solid; margin: 0 4px 4px 0; }
.fine { opacity: .75; font-size: .9em; }
.scroll { overflow-x: auto; } .scroll:focus-visible { outline: 2px solid #0b5cad; }
.numbers { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%;
  border: 0 !important; }
.numbers caption { text-align: left; font-weight: 600; padding: 4px 0; }
.numbers th, .numbers td { text-align: right; padding: 5px 10px !important; vertical-align: top; border: 0 !important;
  border-bottom: 1px solid rgba(128, 128, 128, .35) !important; overflow-wrap: break-word; word-break: normal; }
.numbers th:first-child, .numbers td:first-child, .numbers .left { text-align: left; }
.numbers td { min-width: 4.5em; } .numbers td:first-child { max-width: 18em; }
.flags { margin: 6px 0; padding-left: 20px; list-style: disc; } .flags li { margin: 4px 0; }
.slice { display: block; width: 100%; height: auto; background: #000; border-radius: 4px; }
.report { width: 100%; height: 80vh; border: 1px solid rgba(128, 128, 128, .35); background: #fff; }
.key span { white-space: nowrap; margin-right: 10px; }
.key i { display: inline-block; width: 18px; border-top: 3px solid; margin: 0 4px 4px 0; }
.fine { opacity: .8; font-size: .9em; }
button:focus-visible, input:focus-visible, [role="tab"]:focus-visible, label:focus-within {
  outline: 2px solid #0b5cad; }
"""


def alert(messages: Sequence[str]) -> str:
    """Messages about what did not work; screen readers read them at once."""
    lines = "".join(f"<p>{escape(message)}</p>" for message in messages)
    return f'<div class="alert" role="alert"><strong>{escape(text("error.title"))}</strong>{lines}</div>'


def good(message: str) -> str:
    """A message about what worked."""
    return f'<div class="good" role="status">{escape(message)}</div>'


def doing(stage: Stage, seconds: float) -> str:
    """How far a job is: the scan, the stage, a bar over all scans, and the time."""
    at = STAGES.index(stage.key) if stage.key in STAGES else 0
    done = (max(stage.number, 1) - 1) * len(STAGES) + at
    bar = f'max="{stage.total * len(STAGES)}" value="{done}"' if stage.number else ""
    scan = text("progress.scan", number=stage.number, total=stage.total, name=stage.name) if stage.number else ""
    return (
        f'<div class="doing"><div role="status">{escape(text(f"progress.{stage.key}"))}</div>'
        f'<progress {bar} aria-label="{escape(text(f"progress.{stage.key}"))}"></progress>'
        f'<div class="fine">{escape(scan)}{escape(text("progress.elapsed", seconds=round(seconds)))}</div></div>'
    )


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, left: Sequence[int] = (0,)) -> str:
    """A table that scrolls sideways on narrow screens; the keyboard reaches it."""

    def cell(tag: str, k: int, value: str) -> str:
        scope = ' scope="col"' if tag == "th" else ""
        side = ' class="left"' if k in left else ""
        return f"<{tag}{scope}{side}>{escape(value)}</{tag}>"

    body = "".join("<tr>" + "".join(cell("td", k, v) for k, v in enumerate(row)) + "</tr>" for row in rows)
    top = "".join(cell("th", k, name) for k, name in enumerate(head))
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table class="numbers">'
        f"<caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def volumes(scan: str, rows: list[dict[str, str]], titles: Sequence[str], reference_cm3: float | None) -> str:
    """The volumes of a scan as its table gives them, normalised ones beside them, and its flags in words."""
    normalised = normalised_mm3(rows, reference_cm3)
    missing = text("table.missing")
    reference = missing if reference_cm3 is None else f"{reference_cm3:g}"
    head = [text("table.structure"), text("table.volume"), text("table.sd"),
            text("table.normalised", reference=reference)]  # fmt: skip
    lines = []
    for row, title, value in zip(rows, titles, normalised, strict=True):
        shown = missing if value is None else f"{value:.1f}"
        more = ["", ""] if row["structure"] == ICV else [row["volume_sd_mm3"], shown]
        lines.append([title, row["volume_mm3"], *more])
    note = f'<p class="fine">{escape(text("table.note"))}</p>'
    return table(text("table.caption", scan=scan), head, lines) + note + flags(flags_of(rows))


def legend(masks: Sequence[Mask]) -> str:
    """Colours and names of what is outlined."""
    marks = "".join(
        f'<span><i style="border-color:{escape(mask.colour)}"></i>{escape(mask.name)}</span> ' for mask in masks
    )
    return f'<p class="key">{marks}{escape(text("views.sides"))}</p>'


def flags(found: Sequence[str]) -> str:
    """Flags as a list of sentences, or that there are none."""
    if not found:
        return good(text("table.no_flags"))
    items = "".join(
        f"<li><strong>{escape(f.title)}</strong>: {escape(f.found)}. {escape(f.advice)}</li>"
        for f in describe_flags(found)
    )
    return f'<div class="notice"><strong>{escape(text("table.flags"))}</strong><ul class="flags">{items}</ul></div>'


def counts(frame: pd.DataFrame) -> str:
    """A small table of the core."""
    rows = [[_shown(value) for value in row] for row in frame.itertuples(index=False)]
    return table(text("group.counts"), [str(c).replace("_", " ") for c in frame.columns], rows)


def _shown(value: Any) -> str:
    if pd.isna(value):
        return text("table.missing")
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def report_frame(page: str, title: str) -> str:
    """A whole page of the core inside this one; its scripts reach nothing outside their frame."""
    return f'<iframe class="report" sandbox="allow-scripts" title="{escape(title)}" srcdoc="{escape(page)}"></iframe>'

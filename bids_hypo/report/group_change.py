"""What the page of the group level says of each person's change, of worsening, and of a trial."""

from __future__ import annotations

from typing import Any

from bids_hypo.report.group_study import GroupStudy, interval, known, number, p_text, with_sd
from bids_hypo.stats.rates import RATE


def over_time_sections(study: GroupStudy) -> dict[str, list[dict[str, Any]]]:
    """Rows of the tables ``rates``, ``worsening`` and ``trials``; empty where there is nothing to say."""
    return {"rates": _rates(study), "worsening": _worsening(study), "trials": _trials(study)}


def _rates(study: GroupStudy) -> list[dict[str, Any]]:
    return [
        {"pair": f"{row['group_a']} − {row['group_b']}", "n": f"{int(row['n_a'])} / {int(row['n_b'])}",
         "a": with_sd(row, "a"), "b": with_sd(row, "b"), "difference": interval(row, "estimate", 2),
         "g": interval(row, "hedges_g", 2), "test": row["test"], "p": p_text(row["p"]), "holm": p_text(row["p_holm"])}
        for row in study.rows("rate_comparison")
    ]  # fmt: skip


def _worsening(study: GroupStudy) -> list[dict[str, Any]]:
    return [
        {"measure": study.names[row["measure"]] + (", % a year" if row["measure"] == RATE else ""),
         "group": row["group_a"], "n": f"{int(row['n_a'])} / {int(row['n_b'])}",
         "a": with_sd(row, "a") if known(row["mean_a"]) else "n/a",
         "b": with_sd(row, "b") if known(row["mean_b"]) else "n/a",
         "g": interval(row, "hedges_g", 2), "odds": interval(row, "estimate", 2), "p": p_text(row["p"]),
         "holm": p_text(row["p_holm"]), "by": _text(row["adjusted_for"], "nothing"),
         "note": _text(row["note"], "")}
        for row in study.rows("worsening")
    ]  # fmt: skip


def _text(value: Any, otherwise: str) -> str:
    return value if isinstance(value, str) else otherwise


def _trials(study: GroupStudy) -> list[dict[str, Any]]:
    return [
        {"group": row["group_a"], "n": int(row["n_a"]), "change": with_sd(row, "a"), "slowed": row["term"],
         "difference": number(row["estimate"], 2), "effect": interval(row, "hedges_g", 2),
         "power": f"{number(100 * row['power'], 0)} %",
         "needed": str(int(row["n_per_arm"])) if known(row["n_per_arm"]) else "n/a", "note": row["note"]}
        for row in study.rows("trial")
    ]  # fmt: skip

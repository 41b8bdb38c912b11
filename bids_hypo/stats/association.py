"""Correlation of volumes with clinical scores, with covariates held equal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from bids_hypo.measure import inference
from bids_hypo.measure.inference import ALPHA, correlation, normality_p
from bids_hypo.stats.ancova import held
from bids_hypo.stats.results import TestResult
from bids_hypo.stats.table import design_matrix

PEARSON, SPEARMAN = "partial Pearson correlation", "partial Spearman correlation"


def associate(table: pd.DataFrame, measure: str, score: str, group: str, covariates: Sequence[str]) -> list[TestResult]:
    """Partial correlation of a measure with a clinical score within one group.

    Parameters
    ----------
    table : DataFrame
        Tested scans with group, the measure, the score (numeric) and the covariates; rows with a missing value are left
        out.
    measure, score, group : str
    covariates : sequence of str

    Returns
    -------
    list of TestResult
        Pearson's and Spearman's partial correlation (pingouin); Spearman's is chosen if the measure or the score is not
        normal. ``estimate`` is r with its 95 % interval (Fisher's z, one degree of freedom less for each covariate).
        One row without numbers, saying why, if there is too little data.
    """
    wanted = list(dict.fromkeys([measure, score, *covariates]))
    data = table[table["group"] == group].dropna(subset=wanted)
    adjusted = "; ".join(covariates) or None
    common: dict[str, Any] = {"group_a": group, "term": score, "n_a": len(data), "adjusted_for": adjusted}
    design = design_matrix(data, covariates)
    problem = _problem(data, measure, score, design.shape[1])
    if problem:
        return [TestResult("association", measure, PEARSON, note=problem, **common)]
    common["adjusted_for"] = "; ".join(held(covariates, design)) or None
    numbers = pd.concat([data[[measure, score]].set_axis(["y", "x"], axis=1),
                         design.set_axis([f"c{k}" for k in range(design.shape[1])], axis=1)], axis=1)  # fmt: skip
    p_normal = (normality_p(numbers["y"].to_numpy(float)), normality_p(numbers["x"].to_numpy(float)))
    normal = not any(p < ALPHA for p in p_normal)
    reason = f"Shapiro-Wilk p = {p_normal[0]:.3g} ({measure}), {p_normal[1]:.3g} ({score})"
    rows = []
    for test, method in ((PEARSON, inference.PEARSON), (SPEARMAN, inference.SPEARMAN)):
        r, low, high, p = correlation(numbers, "x", "y", list(numbers.columns[2:]), method)
        chosen = (test == PEARSON) == normal
        rows.append(TestResult(
            "association", measure, test, chosen=chosen, reason=reason if chosen else None, estimate=r,
            estimate_low=low, estimate_high=high, statistic=r, p=p, p_normal_a=p_normal[0], p_normal_b=p_normal[1],
            **common,
        ))  # fmt: skip
    return rows


def _problem(data: pd.DataFrame, measure: str, score: str, n_covariates: int) -> str | None:
    if len(data) - n_covariates < 4:  # Fisher's z has n - 3 in its denominator
        return f"{len(data)} participants with all values: too few for {n_covariates} covariate terms"
    for name in (measure, score):
        if data[name].nunique() < 3:
            return f"{name} has fewer than three different values"
    return None

"""Differences between groups with covariates held equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm

from bids_hypo.measure.inference import normality_p
from bids_hypo.stats.compare import describe
from bids_hypo.stats.results import TestResult
from bids_hypo.stats.table import design_matrix

GROUP_TERM = "group"
SLOPES = "equal slopes of the covariates: p = "


def ancova(table: pd.DataFrame, measure: str, pair: tuple[str, str], covariates: Sequence[str]) -> list[TestResult]:
    """Difference between two groups in a linear model with covariates.

    Parameters
    ----------
    table : DataFrame
        Tested scans with group, the measure and the covariates; rows with a missing value are left out.
    measure : str
    pair : (str, str)
        First and second group.
    covariates : sequence of str
        Numeric columns count as lines, others as categories.

    Returns
    -------
    list of TestResult
        The group's row, then one (``ancova_covariate``) for each covariate. Empty if there is too little data. The
        percent is that of the second group's mean at the mean of the covariates.
    """
    data = complete(table, measure, pair, covariates)
    if data is None:
        return []
    design, note = model_matrix(data, pair, covariates)
    if GROUP_TERM not in design or len(data) - design.shape[1] < 2:
        return []
    fit = sm.OLS(data[measure].to_numpy(float), design.to_numpy(float)).fit()
    names = list(design.columns)
    interval = fit.conf_int()
    slopes = _slopes_note(data, measure, design)
    rows = []
    for k, name in enumerate(names):
        if name == "const":
            continue
        is_group = name == GROUP_TERM
        low, high = (float(end) for end in interval[k])
        found: dict[str, Any] = {"estimate": float(fit.params[k]), "estimate_low": low, "estimate_high": high}
        rows.append(TestResult(
            "ancova" if is_group else "ancova_covariate", measure, "linear model", term=name,
            group_a=pair[0], group_b=pair[1], **described(data, measure, pair),
            **found, **(in_percent(found, reference(data, measure, fit.params[0])) if is_group else {}),
            statistic=float(fit.tvalues[k]), df=float(fit.df_resid), p=float(fit.pvalues[k]),
            p_normal_a=normality_p(np.asarray(fit.resid)), adjusted_for="; ".join(held(covariates, design)) or None,
            note="; ".join(x for x in (note, slopes if is_group else "") if x) or None,
        ))  # fmt: skip
    return sorted(rows, key=lambda r: r.term != GROUP_TERM)


def complete(table: pd.DataFrame, measure: str, pair: tuple[str, str], columns: Sequence[str]) -> pd.DataFrame | None:
    """Rows of two groups without missing values; None if a group has fewer than two, or nothing varies."""
    wanted = list(dict.fromkeys([measure, *columns]))
    data = table[table["group"].isin(pair)].dropna(subset=wanted)
    enough = min((data["group"] == name).sum() for name in pair) >= 2 and data[measure].nunique() > 1
    return data if enough else None


def model_matrix(data: pd.DataFrame, pair: tuple[str, str], covariates: Sequence[str]) -> tuple[pd.DataFrame, str]:
    """Constant, group (1 for the first) and covariates that are independent of them; what was left out."""
    matrix = design_matrix(data, covariates)
    group = pd.DataFrame({GROUP_TERM: (data["group"] == pair[0]).astype(float)})
    full = sm.add_constant(pd.concat([matrix, group], axis=1), has_constant="add")
    note = ""
    if np.linalg.matrix_rank(full.to_numpy(float) / full.abs().max().to_numpy(float)) < full.shape[1]:
        full = full.drop(columns=GROUP_TERM)
        note = "the covariates separate the groups completely"
    unused = [c for c in covariates if c not in held(covariates, matrix)]
    if unused:
        note = f"{', '.join(unused)} does not vary or adds nothing and was left out"
    return full, note


def held(covariates: Sequence[str], design: pd.DataFrame) -> list[str]:
    """The covariates that a design holds equal: those that vary and add something."""
    return [c for c in covariates if any(x == c or str(x).startswith(f"{c}: ") for x in design)]


def described(data: pd.DataFrame, measure: str, pair: tuple[str, str]) -> dict[str, Any]:
    """N, mean, SD and median of both groups, as fields of `TestResult`."""
    return describe(*(data.loc[data["group"] == name, measure].to_numpy(float) for name in pair))


def reference(data: pd.DataFrame, measure: str, constant: float) -> float | None:
    """What percentages refer to: the second group's mean, for measures that have a true zero."""
    return float(constant) if bool((data[measure] > 0).all()) else None


def in_percent(found: Mapping[str, float], base: float | None) -> dict[str, Any]:
    """An estimate and its interval in percent of a base, as fields of `TestResult`; empty without one."""
    if base is None:
        return {}
    estimates = {name: value for name, value in found.items() if name.startswith("estimate")}
    return {name.replace("estimate", "percent"): 100 * value / base for name, value in estimates.items()}


def _slopes_note(data: pd.DataFrame, measure: str, design: pd.DataFrame) -> str:
    """Whether the covariates act alike in both groups, which this kind of model takes for granted."""
    others = [c for c in design if c not in ("const", GROUP_TERM)]
    products = design[others].mul(design[GROUP_TERM], axis=0).add_prefix("x ")
    wider = pd.concat([design, products], axis=1).to_numpy(float)
    scaled = wider / np.maximum(np.abs(wider).max(axis=0), 1e-12)
    if not others or np.linalg.matrix_rank(scaled) < wider.shape[1] or len(data) - wider.shape[1] < 2:
        return ""
    values = data[measure].to_numpy(float)
    _, p, _ = sm.OLS(values, wider).fit().compare_f_test(sm.OLS(values, design.to_numpy(float)).fit())
    return f"{SLOPES}{p:.3g}"

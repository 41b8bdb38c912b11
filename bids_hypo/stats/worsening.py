"""Whether people who have got worse, yes or no, have smaller or faster shrinking volumes: logistic regression."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy import stats
from statsmodels.tools.sm_exceptions import PerfectSeparationError

from bids_hypo.measure.inference import CONFIDENCE
from bids_hypo.stats.ancova import held
from bids_hypo.stats.compare import describe
from bids_hypo.stats.effects import hedges_g
from bids_hypo.stats.results import TestResult
from bids_hypo.stats.table import design_matrix

LOGISTIC = "logistic regression"
MIN_PEOPLE = 5  # who have got worse, and who have not
ENOUGH_PER_TERM = 10  # of the rarer answer, for each term of the model (Peduzzi et al. 1996)
_LARGEST = 15.0  # log odds per SD: above it the answers are separated


def worsening(
    table: pd.DataFrame, measure: str, worsened: str, group: str, covariates: Sequence[str]
) -> list[TestResult]:
    """Odds of having got worse for each standard deviation less of a measure.

    log odds = a - b (measure - mean) / SD + covariates (statsmodels Logit, Wald intervals): an odds ratio exp(b) above
    1 says that people with smaller volumes, or faster loss, have got worse more often.

    Parameters
    ----------
    table : DataFrame
        One scan a person with group, the measure, ``worsened`` (1 yes, 0 no) and the covariates; rows with a missing
        value are left out.
    measure, worsened, group : str
    covariates : sequence of str

    Returns
    -------
    list of TestResult
        One row; ``estimate`` is the odds ratio, a and b are the people who have got worse and who have not. Without
        numbers, saying why, if there is too little data or the measure separates the answers. Covariates that separate
        them are left out, and the note says so.
    """
    data = table[table["group"] == group].dropna(subset=list(dict.fromkeys([measure, worsened, *covariates])))
    answer = data[worsened].to_numpy(float)
    yes, no = (data.loc[answer == value, measure].to_numpy(float) for value in (1, 0))
    common: dict[str, Any] = {"group_a": group, "term": worsened}
    design = design_matrix(data, covariates)
    rarer = min(len(yes), len(no))
    if rarer < MIN_PEOPLE or data[measure].nunique() < 3:
        note = f"{len(yes)} have got worse and {len(no)} have not; expected at least {MIN_PEOPLE} of each"
        return [TestResult("worsening", measure, LOGISTIC, n_a=len(yes), n_b=len(no), note=note, **common)]
    g, g_low, g_high = hedges_g(yes, no)
    common |= {**describe(yes, no), "hedges_g": g, "hedges_g_low": g_low, "hedges_g_high": g_high,
               "adjusted_for": "; ".join(held(covariates, design)) or None}  # fmt: skip
    values = data[measure].to_numpy(float)
    less = -(values - values.mean()) / values.std(ddof=1)
    alone, n_terms, notes = np.column_stack([np.ones(len(less)), less]), 1 + design.shape[1], []
    found = _fit(answer, np.column_stack([alone, design.to_numpy(float)]))
    if found is None and design.shape[1]:
        notes.append(f"{common['adjusted_for']} separate the answers and are not held equal")
        found, n_terms, common["adjusted_for"] = _fit(answer, alone), 1, None
    if found is None:
        return [TestResult("worsening", measure, LOGISTIC, note="the measure separates the answers: no odds ratio",
                           **common)]  # fmt: skip
    if rarer < ENOUGH_PER_TERM * n_terms:
        notes.append(f"only {rarer} of the rarer answer for {n_terms} term(s): the odds ratio may be too far from 1")
    return [TestResult("worsening", measure, LOGISTIC, **found, note="; ".join(notes) or None, **common)]


def _fit(answer: np.ndarray, design: np.ndarray) -> dict[str, Any] | None:
    """The second coefficient as an odds ratio with its interval, z and p; None unless the fit can be used."""
    scaled = design / np.maximum(np.abs(design).max(axis=0), 1e-12)
    if np.linalg.matrix_rank(scaled) < design.shape[1]:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fit = sm.Logit(answer, design).fit(disp=False, maxiter=200)
        except (np.linalg.LinAlgError, PerfectSeparationError):
            return None
    value, error = float(fit.params[1]), float(fit.bse[1])
    if not fit.mle_retvals["converged"] or not np.isfinite(error) or max(np.abs(fit.params[1:])) > _LARGEST:
        return None
    low, high = stats.norm.interval(CONFIDENCE, loc=value, scale=error)
    odds = {"estimate": value, "estimate_low": low, "estimate_high": high}
    return {**{name: float(np.exp(x)) for name, x in odds.items()},
            "statistic": value / error, "p": float(fit.pvalues[1])}  # fmt: skip

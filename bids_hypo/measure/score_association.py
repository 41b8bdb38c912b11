"""Correlation of volumes with clinical scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pingouin

from bids_hypo.measure.agreement import Estimate, unrounded

MIN_PERSONS = 5


@dataclass(frozen=True)
class Association:
    """A volume and a score.

    Attributes
    ----------
    n : int
        Persons with both (and with all covariates).
    pearson : Estimate
        Pearson's r, or the partial correlation if there are covariates.
    pearson_p : float
    spearman : float
        Spearman's rho (partial, likewise).
    spearman_p : float
    """

    n: int
    pearson: Estimate
    pearson_p: float
    spearman: float
    spearman_p: float


def associate(table: pd.DataFrame, volume: str, score: str, covariates: Sequence[str] = ()) -> Association:
    """Correlate two columns, for covariates if there are any.

    Parameters
    ----------
    table : DataFrame
        One row a person; covariates that are words become indicators.
    volume, score : str
    covariates : sequence of str

    Returns
    -------
    Association
        NaN with fewer persons than five and one more for each covariate, or without spread.
    """
    known = table[[volume, score, *covariates]].dropna()
    if covariates:
        indicators = pd.get_dummies(known[list(covariates)], drop_first=True, dtype=float)
        known = pd.concat([known[[volume, score]], indicators], axis=1)
    adjust = [c for c in known.columns[2:] if np.ptp(known[c]) > 0]
    flat = len(known) < MIN_PERSONS + len(adjust) or known[volume].nunique() == 1 or known[score].nunique() == 1
    if flat:
        return Association(len(known), Estimate(), np.nan, np.nan, np.nan)
    r, low, high, p = _correlation(known, volume, score, adjust, "pearson")
    rho, _, _, rho_p = _correlation(known, volume, score, adjust, "spearman")
    return Association(len(known), Estimate(r, low, high), p, rho, rho_p)


def _correlation(
    table: pd.DataFrame, volume: str, score: str, covariates: list[str], method: str
) -> tuple[float, float, float, float]:
    with unrounded():
        if covariates:
            result = pingouin.partial_corr(table, x=volume, y=score, covar=covariates, method=method)
        else:
            result = pingouin.corr(table[volume], table[score], method=method)
    # the names of these columns have changed between releases of pingouin
    interval = result[next(c for c in result.columns if str(c).startswith("CI95"))].iloc[0]
    p = result[next(c for c in result.columns if str(c) in ("p_val", "p-val", "pval"))].iloc[0]
    return float(result["r"].iloc[0]), float(interval[0]), float(interval[1]), float(p)

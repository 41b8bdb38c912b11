"""Correlation of volumes with clinical scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bids_hypo.measure.agreement import Estimate
from bids_hypo.measure.inference import design_matrix, partial_correlation

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
    held = design_matrix(known, covariates).to_numpy(float)
    v, s = known[volume].to_numpy(float), known[score].to_numpy(float)
    if len(known) < MIN_PERSONS + held.shape[1] or np.ptp(v) == 0 or np.ptp(s) == 0:
        return Association(len(known), Estimate(), np.nan, np.nan, np.nan)
    linear, ranks = (partial_correlation(v, s, held, method) for method in ("pearson", "spearman"))
    return Association(len(known), Estimate(linear.r, linear.low, linear.high), linear.p, ranks.r, ranks.p)

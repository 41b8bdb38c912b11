"""Correlation of volumes with clinical scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bids_hypo.measure.agreement import Estimate
from bids_hypo.measure.inference import PEARSON, SPEARMAN, correlation

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
    known, adjust = with_indicators(table[[volume, score, *covariates]].dropna(), [volume, score], covariates)
    flat = len(known) < MIN_PERSONS + len(adjust) or known[volume].nunique() == 1 or known[score].nunique() == 1
    if flat:
        return Association(len(known), Estimate(), np.nan, np.nan, np.nan)
    r, low, high, p = correlation(known, volume, score, adjust, PEARSON)
    rho, _, _, rho_p = correlation(known, volume, score, adjust, SPEARMAN)
    return Association(len(known), Estimate(r, low, high), p, rho, rho_p)


def with_indicators(
    known: pd.DataFrame, columns: Sequence[str], covariates: Sequence[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Columns with covariates as numbers: words become indicators.

    Parameters
    ----------
    known : DataFrame
        Without missing values.
    columns : sequence of str
        Numbers that stay.
    covariates : sequence of str

    Returns
    -------
    table : DataFrame
        The columns, then the covariates.
    adjust : list of str
        The covariates that vary.
    """
    if not covariates:
        return known[list(columns)], []
    indicators = pd.get_dummies(known[list(covariates)], drop_first=True, dtype=float)
    varying = [str(name) for name in indicators if np.ptp(indicators[name]) > 0]
    return pd.concat([known[list(columns)], indicators], axis=1), varying

"""What the group level and the evaluation test alike: pairs, correlations, many p values."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pingouin
from scipy import stats

ALPHA, CONFIDENCE = 0.05, 0.95
PAIRED_T, WILCOXON = "paired t", "Wilcoxon signed-rank"
PEARSON, SPEARMAN = "pearson", "spearman"
HOLM, FDR = "holm", "fdr_bh"


def normality_p(values: np.ndarray) -> float:
    """Return p of the Shapiro-Wilk test; NaN with fewer than three values or none that differ."""
    if len(values) < 3 or np.ptp(values) == 0:
        return math.nan
    return float(stats.shapiro(values).pvalue)


def choose_paired(difference: np.ndarray) -> tuple[str, float]:
    """The test for pairs: the paired t test unless the differences are not normal.

    Parameters
    ----------
    difference : (N,) float

    Returns
    -------
    test : str
        `PAIRED_T` or `WILCOXON`.
    shapiro_p : float
        Of the differences; NaN if it cannot be tested.
    """
    p = normality_p(difference)
    return (WILCOXON if p < ALPHA else PAIRED_T), p


def correlation(
    table: pd.DataFrame, x: str, y: str, covariates: Sequence[str], method: str
) -> tuple[float, float, float, float]:
    """Correlation of two columns, partial if there are covariates (pingouin).

    Parameters
    ----------
    table : DataFrame
        Numbers, none missing.
    x, y : str
    covariates : sequence of str
        Columns to hold equal.
    method : str
        `PEARSON` or `SPEARMAN`.

    Returns
    -------
    r, low, high, p : float
        The 95 % interval is by Fisher's z, with one person less for each covariate.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if covariates:
            found = pingouin.partial_corr(table, x=x, y=y, covar=list(covariates), method=method)
        else:
            found = pingouin.corr(table[x], table[y], method=method)
    # By place: the names of pingouin's columns have changed between versions, their order has not.
    r, p = float(found.iloc[0, 1]), float(found.iloc[0, 3])
    n = len(table) - len(covariates)
    low, high = pingouin.compute_esci(r, n, n, eftype="r", confidence=CONFIDENCE, decimals=6)
    return r, float(np.clip(low, -1, 1)), float(np.clip(high, -1, 1)), p


def corrected_p(p_values: Sequence[float], method: str) -> np.ndarray:
    """Correct p values of one family (pingouin).

    Parameters
    ----------
    p_values : (N,) float
        NaN stay and do not count.
    method : str
        `HOLM` (1979), or `FDR`: Benjamini and Hochberg (1995).

    Returns
    -------
    (N,) float
    """
    values = np.asarray(p_values, dtype=float)
    known = np.isfinite(values)
    out = np.full(values.shape, np.nan)
    if known.any():
        out[known] = pingouin.multicomp(values[known], alpha=ALPHA, method=method)[1]
    return out

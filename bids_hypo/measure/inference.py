"""Statistics that group level and evaluation share: paired tests, partial correlations, corrections for many tests."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import pingouin
from scipy import stats
from statsmodels.stats.multitest import multipletests

ALPHA = 0.05
CONFIDENCE = 0.95
PAIRED_T, WILCOXON, NO_TEST = "paired t", "Wilcoxon signed-rank", "none"
HOLM, FDR = "holm", "fdr_bh"


class Outcome(NamedTuple):
    """A test statistic, its p value, and degrees of freedom (NaN where there are none)."""

    statistic: float
    p: float
    df: float = math.nan


class PairedTests(NamedTuple):
    """Two tests of the same pairs, the mean difference with its interval, and which test the rule chooses."""

    shapiro_p: float
    chosen: str
    t: Outcome
    ranks: Outcome
    mean: float
    low: float
    high: float


class Correlation(NamedTuple):
    """A correlation coefficient with its 95 % interval and p value."""

    r: float
    low: float
    high: float
    p: float


def normality_p(values: np.ndarray) -> float:
    """Return p of the Shapiro-Wilk test; NaN with fewer than three values or none that differ."""
    if len(values) < 3 or np.ptp(values) == 0:
        return math.nan
    return float(stats.shapiro(values).pvalue)


def paired_tests(a: np.ndarray, b: np.ndarray) -> PairedTests:
    """Paired t test, and Wilcoxon's signed-rank test, which is chosen if the differences are not normal.

    Parameters
    ----------
    a, b : (N,) float
        Two pairs at least, none with a missing value; not all differences the same.
    """
    difference = a - b
    shapiro_p = normality_p(difference)
    t = stats.ttest_rel(a, b)
    with warnings.catch_warnings():  # about ties and few pairs
        warnings.simplefilter("ignore")
        ranks = stats.wilcoxon(a, b)
    interval = t.confidence_interval(CONFIDENCE)
    return PairedTests(
        shapiro_p, WILCOXON if shapiro_p < ALPHA else PAIRED_T,
        Outcome(float(t.statistic), float(t.pvalue), float(t.df)), Outcome(float(ranks.statistic), float(ranks.pvalue)),
        float(difference.mean()), float(interval.low), float(interval.high),
    )  # fmt: skip


def partial_correlation(x: np.ndarray, y: np.ndarray, covariates: np.ndarray, method: str) -> Correlation:
    """Correlation of two variables with others held equal.

    Parameters
    ----------
    x, y : (N,) float
    covariates : (N, K) float
        K may be 0.
    method : {"pearson", "spearman"}

    Returns
    -------
    Correlation
        By pingouin; the interval is Fisher's, with one degree of freedom less for each covariate.
    """
    names = [f"c{k}" for k in range(covariates.shape[1])]
    numbers = pd.DataFrame(np.column_stack([x, y, covariates]), columns=["x", "y", *names])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if names:
            found = pingouin.partial_corr(numbers, "x", "y", names, method=method)
        else:
            found = pingouin.corr(numbers["x"], numbers["y"], method=method)
    # By place: the names of pingouin's columns have changed between versions, their order has not.
    r, p = float(found.iloc[0, 1]), float(found.iloc[0, 3])
    n = len(numbers) - len(names)
    low, high = pingouin.compute_esci(r, n, n, eftype="r", confidence=CONFIDENCE, decimals=6)
    return Correlation(r, float(np.clip(low, -1, 1)), float(np.clip(high, -1, 1)), p)


def corrected_p(p_values: Sequence[float], method: str) -> list[float]:
    """Corrected p values of one family: `HOLM` (1979), or `FDR` (Benjamini and Hochberg 1995).

    Values that are NaN stay so, and do not count.
    """
    p = np.asarray(p_values, dtype=float)
    out = np.full(p.shape, np.nan)
    known = np.isfinite(p)
    if known.any():
        out[known] = multipletests(p[known], method=method)[1]
    return [float(x) for x in out]


def design_matrix(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Covariates as numbers: numeric ones centred, categories as 0/1 columns of all but their most frequent level.

    Columns that do not vary, or that add nothing to the ones before, are left out.
    """
    parts: list[pd.DataFrame] = []
    for name in columns:
        column = table[name]
        if pd.api.types.is_numeric_dtype(column):
            parts.append(pd.DataFrame({name: column - column.mean()}))
            continue
        levels = column.value_counts().sort_index().sort_values(ascending=False, kind="stable").index[1:]
        parts.append(pd.DataFrame({f"{name}: {level}": (column == level).astype(float) for level in levels},
                                  index=table.index))  # fmt: skip
    full = pd.concat([pd.DataFrame(index=table.index), *parts], axis=1)
    kept = pd.DataFrame({"": 1.0}, index=table.index)
    for name in map(str, full):
        scaled = full[name] / (full[name].abs().max() or 1.0)
        wider = kept.assign(**{name: scaled})
        if np.linalg.matrix_rank(wider.to_numpy(float)) == wider.shape[1]:
            kept = wider
    return full[[name for name in kept if name != ""]]

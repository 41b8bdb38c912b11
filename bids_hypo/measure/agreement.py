"""Agreement of a measured volume with the true one, person by person."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pingouin
import statsmodels.api as sm
from scipy import stats

from bids_hypo.measure.inference import CONFIDENCE, PAIRED_T, choose_paired

LIMITS_SD = 1.96
NO_TEST = "none"


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % confidence interval, in the unit of what was estimated.

    Attributes
    ----------
    value, low, high : float
        NaN where there are too few values.
    """

    value: float = np.nan
    low: float = np.nan
    high: float = np.nan


@dataclass(frozen=True)
class PairedTest:
    """Whether two measurements of the same scans differ.

    Attributes
    ----------
    n : int
    shapiro_p : float
        Normality of the differences (Shapiro-Wilk).
    test : str
        ``paired t`` if the differences may be normal (p at least 0.05), else ``Wilcoxon signed-rank``; ``none`` if
        there is nothing to test.
    statistic, p : float
    """

    n: int
    shapiro_p: float
    test: str
    statistic: float
    p: float


@dataclass(frozen=True)
class Agreement:
    """How far measured and true volumes agree.

    Attributes
    ----------
    n : int
    bias, lower_limit, upper_limit : Estimate
        Mean difference, found minus true, and limits of agreement (mean -/+ 1.96 SD), mm3.
    sd_difference : float
        mm3.
    icc_2_1, icc_3_1 : Estimate
        Absolute agreement and consistency of single measurements.
    pearson_r : Estimate
    proportional_bias : Estimate
        Slope of the difference on the mean of both; 0 if the error does not depend on the size.
    proportional_bias_p : float
    cv_percent : float
        Root mean square of each pair's coefficient of variation.
    test : PairedTest
    """

    n: int
    bias: Estimate
    sd_difference: float
    lower_limit: Estimate
    upper_limit: Estimate
    icc_2_1: Estimate
    icc_3_1: Estimate
    pearson_r: Estimate
    proportional_bias: Estimate
    proportional_bias_p: float
    cv_percent: float
    test: PairedTest


def agreement(found: np.ndarray, true: np.ndarray) -> Agreement:
    """Agreement of two measurements of the same scans.

    Parameters
    ----------
    found, true : (N,) float
        Pairs with a missing value are left out.

    Returns
    -------
    Agreement
        NaN where fewer than three pairs are left (ICC: five).
    """
    found, true = _complete(found, true)
    bias, sd, lower, upper = bland_altman(found, true)
    icc_2_1, icc_3_1 = intraclass_correlations(found, true)
    slope, slope_p = proportional_bias(found, true)
    return Agreement(
        n=len(found), bias=bias, sd_difference=sd, lower_limit=lower, upper_limit=upper, icc_2_1=icc_2_1,
        icc_3_1=icc_3_1, pearson_r=pearson(found, true), proportional_bias=slope, proportional_bias_p=slope_p,
        cv_percent=coefficient_of_variation_percent(found, true), test=paired_test(found, true),
    )  # fmt: skip


@contextmanager
def unrounded() -> Iterator[None]:
    """Have pingouin give its intervals with all digits, for the block; its default is two decimals."""
    options = dict(pingouin.options)
    pingouin.options.clear()
    pingouin.options["round"] = None
    try:
        yield
    finally:
        pingouin.options.clear()
        pingouin.options.update(options)


def _complete(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"measurements of shapes {a.shape} and {b.shape} are no pairs; expected two (N,) arrays")
    both = np.isfinite(a) & np.isfinite(b)
    return a[both], b[both]


def bland_altman(found: np.ndarray, true: np.ndarray) -> tuple[Estimate, float, Estimate, Estimate]:
    """Bias, SD of the differences, lower and upper limit of agreement, in the unit of the input.

    The limits are mean -/+ 1.96 SD; their standard error is SD sqrt(1/n + 1.96^2 / (2 (n - 1))) and the intervals are
    those of t with n - 1 degrees of freedom (Bland and Altman 1999, Stat Methods Med Res 8:135, section 2.4).
    """
    n = len(found)
    if n < 3:
        value = float((found - true).mean()) if n else np.nan
        return Estimate(value), np.nan, Estimate(), Estimate()
    difference = found - true
    mean, sd = float(difference.mean()), float(difference.std(ddof=1))
    of_mean = sd / np.sqrt(n)
    of_limit = sd * np.sqrt(1 / n + LIMITS_SD**2 / (2 * (n - 1)))
    t = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1))
    centres = (mean, mean - LIMITS_SD * sd, mean + LIMITS_SD * sd)
    bias, lower, upper = (
        Estimate(c, c - t * error, c + t * error)
        for c, error in zip(centres, (of_mean, of_limit, of_limit), strict=True)
    )
    return bias, sd, lower, upper


def intraclass_correlations(found: np.ndarray, true: np.ndarray) -> tuple[Estimate, Estimate]:
    """ICC(2,1) and ICC(3,1) of Shrout and Fleiss (1979), with intervals; NaN below five pairs.

    McGraw and Wong (1996) call them ICC(A,1), absolute agreement, and ICC(C,1), consistency.
    """
    n = len(found)
    if n < 5 or np.ptp(np.concatenate([found, true])) == 0:
        return Estimate(), Estimate()
    if np.array_equal(found, true):
        return Estimate(1.0, 1.0, 1.0), Estimate(1.0, 1.0, 1.0)
    long = pd.DataFrame(
        {"scan": np.tile(np.arange(n), 2), "by": np.repeat(["found", "true"], n), "volume": np.r_[found, true]}
    )
    with warnings.catch_warnings(), np.errstate(all="ignore"), unrounded():
        warnings.simplefilter("ignore", RuntimeWarning)
        table = pingouin.intraclass_corr(data=long, targets="scan", raters="by", ratings="volume")
    # rows 1 and 2 of six; their names and that of the interval have changed between releases of pingouin
    interval = next(c for c in table.columns if str(c).startswith("CI95"))
    first, second = (
        Estimate(float(table["ICC"].iloc[i]), *(float(x) for x in table[interval].iloc[i])) for i in (1, 2)
    )
    return first, second


def pearson(a: np.ndarray, b: np.ndarray) -> Estimate:
    """Pearson's r with Fisher's interval; NaN below four pairs or without spread."""
    if len(a) < 4 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return Estimate()
    result = stats.pearsonr(a, b)
    interval = result.confidence_interval(CONFIDENCE)
    return Estimate(float(result.statistic), float(interval.low), float(interval.high))


def proportional_bias(found: np.ndarray, true: np.ndarray) -> tuple[Estimate, float]:
    """Slope, and its p, of the difference on the mean of both (Bland and Altman 1999, section 3.1)."""
    mean = (found + true) / 2
    if len(found) < 3 or np.ptp(mean) == 0:
        return Estimate(), np.nan
    with np.errstate(all="ignore"):
        fit = sm.OLS(found - true, sm.add_constant(mean)).fit()
        low, high = fit.conf_int(1 - CONFIDENCE)[1]
        p = float(fit.pvalues[1])
    return Estimate(float(fit.params[1]), float(low), float(high)), p


def coefficient_of_variation_percent(found: np.ndarray, true: np.ndarray) -> float:
    """Root mean square over the pairs of SD / mean, in percent (Gluer et al. 1995, Osteoporos Int 5:262).

    The SD of a pair is its difference over sqrt(2).
    """
    if not len(found):
        return np.nan
    mean = (found + true) / 2
    with np.errstate(all="ignore"):
        return float(100 * np.sqrt(np.mean((found - true) ** 2 / 2 / mean**2)))


def paired_test(a: np.ndarray, b: np.ndarray) -> PairedTest:
    """Paired t test, or Wilcoxon's signed-rank test if the differences are not normal (Shapiro-Wilk, p < 0.05).

    Parameters
    ----------
    a, b : (N,) float

    Returns
    -------
    PairedTest
    """
    a, b = _complete(a, b)
    difference = a - b
    if len(a) < 3 or np.ptp(difference) <= 1e-12 * max(float(np.abs(a).max()), 1e-300):
        return PairedTest(len(a), np.nan, NO_TEST, np.nan, np.nan)
    name, shapiro_p = choose_paired(difference)
    result = stats.ttest_rel(a, b) if name == PAIRED_T else stats.wilcoxon(a, b)
    return PairedTest(len(a), shapiro_p, name, float(result.statistic), float(result.pvalue))

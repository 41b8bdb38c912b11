"""Comparisons between groups, and of left with right."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import stats
from statsmodels.stats.oneway import anova_oneway

from bids_hypo.measure.inference import ALPHA, CONFIDENCE, PAIRED_T, WILCOXON, choose_paired, normality_p
from bids_hypo.stats.effects import (
    UNKNOWN,
    Interval,
    achieved_power,
    hedges_g,
    inverted_interval,
    needed_per_group,
)
from bids_hypo.stats.results import TestResult

STUDENT, WELCH, MANN_WHITNEY = "Student t", "Welch t", "Mann-Whitney U"
ANOVA, WELCH_ANOVA, KRUSKAL = "ANOVA", "Welch ANOVA", "Kruskal-Wallis H"


def equal_variance_p(groups: Sequence[np.ndarray]) -> float:
    """Return p of the Brown-Forsythe test (Levene's with medians); NaN if nothing varies."""
    if any(len(g) < 2 for g in groups) or all(np.ptp(g) == 0 for g in groups):
        return math.nan
    return float(stats.levene(*groups, center="median").pvalue)


def choose_test(p_normal: Sequence[float], p_variance: float, names: tuple[str, str, str]) -> tuple[str, str]:
    """The rule: rank test if a group is not normal, else the unequal-variance test if variances differ.

    Parameters
    ----------
    p_normal : sequence of float
        Shapiro-Wilk of every group; NaN (fewer than three) speaks neither way.
    p_variance : float
        Brown-Forsythe; NaN speaks neither way.
    names : (equal variances, unequal variances, ranks)

    Returns
    -------
    name, reason : str
    """
    lowest = np.nanmin(p_normal) if not np.all(np.isnan(p_normal)) else math.nan
    if lowest < ALPHA:
        return names[2], f"not normal (Shapiro-Wilk p = {lowest:.3g})"
    normal = "too few to test normality" if math.isnan(lowest) else f"normal (Shapiro-Wilk p = {lowest:.3g})"
    if p_variance < ALPHA:
        return names[1], f"{normal}, variances differ (Brown-Forsythe p = {p_variance:.3g})"
    return names[0], f"{normal}, variances equal (Brown-Forsythe p = {p_variance:.3g})"


def compare_two(a: np.ndarray, b: np.ndarray, measure: str, names: tuple[str, str]) -> list[TestResult]:
    """Student's, Welch's and the Mann-Whitney test of two independent groups; the rule marks one as chosen.

    Parameters
    ----------
    a, b : (n,) float
        Without missing values, at least two each.
    measure : str
    names : (str, str)
        Of the two groups.

    Returns
    -------
    list of TestResult
        Three rows; none if all values are the same. Difference and percent belong to the row's test: of means for the
        t tests, median of all pairwise differences and ratios (Hodges and Lehmann 1963) for the ranks. Intervals hold
        the values that the same test does not reject; for the percent of a t test this is Fieller's (1954).
    """
    if np.ptp(np.concatenate([a, b])) == 0:
        return []
    g, g_low, g_high = hedges_g(a, b)
    p_normal = (normality_p(a), normality_p(b))
    p_variance = equal_variance_p([a, b])
    chosen, reason = choose_test(p_normal, p_variance, (STUDENT, WELCH, MANN_WHITNEY))
    common = TestResult(
        "comparison", measure, "", group_a=names[0], group_b=names[1], **describe(a, b),
        hedges_g=g, hedges_g_low=g_low, hedges_g_high=g_high, p_normal_a=p_normal[0], p_normal_b=p_normal[1],
        p_equal_variance=p_variance, power=achieved_power(g, len(a), len(b)),
        n_per_group_for_80_percent=needed_per_group(g),
    )  # fmt: skip
    rows = [_t_row(a, b, common, equal_var=True), _t_row(a, b, common, equal_var=False), _rank_row(a, b, common)]
    return [replace(r, chosen=r.test == chosen, reason=reason if r.test == chosen else None) for r in rows]


def describe(a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    """n, mean, SD (n - 1) and median of two sets of numbers, as fields of `TestResult`."""
    out: dict[str, Any] = {}
    for side, values in (("a", a), ("b", b)):
        out[f"n_{side}"] = len(values)
        out[f"mean_{side}"] = float(np.mean(values))
        out[f"sd_{side}"] = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
        out[f"median_{side}"] = float(np.median(values))
    return out


def _t_row(a: np.ndarray, b: np.ndarray, common: TestResult, *, equal_var: bool) -> TestResult:
    test = stats.ttest_ind(a, b, equal_var=equal_var)
    interval = test.confidence_interval(CONFIDENCE)
    percent, percent_interval = math.nan, UNKNOWN
    if _is_ratio_scale(a, b):
        ratio = a.mean() / b.mean()
        percent = 100 * (ratio - 1)
        percent_interval = _percent(lambda r: stats.ttest_ind(a, r * b, equal_var=equal_var).pvalue, ratio, a, b)
    return replace(
        common, test=STUDENT if equal_var else WELCH, estimate=float(a.mean() - b.mean()),
        estimate_low=float(interval.low), estimate_high=float(interval.high), percent=percent,
        percent_low=percent_interval[0], percent_high=percent_interval[1], statistic=float(test.statistic),
        df=float(test.df), p=float(test.pvalue),
    )  # fmt: skip


def _rank_row(a: np.ndarray, b: np.ndarray, common: TestResult) -> TestResult:
    test = stats.mannwhitneyu(a, b, alternative="two-sided")
    shift = float(np.median(np.subtract.outer(a, b)))
    step = max(float(np.std(np.concatenate([a, b]))), 1e-9)
    low, high = inverted_interval(lambda d: _rank_p(a - d, b), shift, step)
    percent, percent_interval = math.nan, UNKNOWN
    if _is_ratio_scale(a, b):
        ratio = float(np.median(np.divide.outer(a, b)))
        percent = 100 * (ratio - 1)
        percent_interval = _percent(lambda r: _rank_p(a, r * b), ratio, a, b)
    return replace(
        common, test=MANN_WHITNEY, estimate=shift, estimate_low=low, estimate_high=high, percent=percent,
        percent_low=percent_interval[0], percent_high=percent_interval[1], statistic=float(test.statistic),
        p=float(test.pvalue),
    )  # fmt: skip


def _rank_p(a: np.ndarray, b: np.ndarray) -> float:
    return float(stats.mannwhitneyu(a, b, alternative="two-sided").pvalue)


def _percent(p_at: Callable[[float], float], ratio: float, a: np.ndarray, b: np.ndarray) -> Interval:
    step = max((np.std(a) / a.mean() + np.std(b) / b.mean()) / 2, 1e-9)
    low, high = inverted_interval(p_at, ratio, float(step))
    return 100 * (low - 1), 100 * (high - 1)


def _is_ratio_scale(a: np.ndarray, b: np.ndarray) -> bool:
    """Percent means something for volumes, not for differences such as the asymmetry."""
    return bool(np.all(a > 0) and np.all(b > 0))


def compare_many(groups: Mapping[str, np.ndarray], measure: str) -> list[TestResult]:
    """ANOVA, Welch's ANOVA and Kruskal-Wallis of three or more groups; the rule marks one as chosen.

    Parameters
    ----------
    groups : mapping of str to (n,) float
        At least two values each.
    measure : str

    Returns
    -------
    list of TestResult
        Three rows; none if all values are the same.
    """
    values = list(groups.values())
    if np.ptp(np.concatenate(values)) == 0:
        return []
    p_normal = [normality_p(v) for v in values]
    p_variance = equal_variance_p(values)
    chosen, reason = choose_test(p_normal, p_variance, (ANOVA, WELCH_ANOVA, KRUSKAL))
    total, k = sum(len(v) for v in values), len(values)
    common = TestResult(
        "omnibus", measure, "", group_a="; ".join(groups), n_a=total, p_equal_variance=p_variance,
        p_normal_a=float(np.nanmin(p_normal)) if not np.all(np.isnan(p_normal)) else math.nan,
    )  # fmt: skip
    classic, ranks = stats.f_oneway(*values), stats.kruskal(*values)
    welch = anova_oneway(values, use_var="unequal")
    rows = [
        replace(common, test=ANOVA, statistic=float(classic.statistic), p=float(classic.pvalue),
                df=k - 1, df_denominator=total - k),
        replace(common, test=WELCH_ANOVA, statistic=float(welch.statistic), p=float(welch.pvalue),
                df=float(welch.df_num), df_denominator=float(welch.df_denom)),
        replace(common, test=KRUSKAL, statistic=float(ranks.statistic), p=float(ranks.pvalue), df=k - 1),
    ]  # fmt: skip
    return [replace(r, chosen=r.test == chosen, reason=reason if r.test == chosen else None) for r in rows]


def left_against_right(left: np.ndarray, right: np.ndarray, group: str) -> list[TestResult]:
    """Paired tests of left against right within a group.

    Parameters
    ----------
    left, right : (n,) float, mm3
        Of the same people, at least two.
    group : str

    Returns
    -------
    list of TestResult
        Paired t and Wilcoxon signed-rank; the t test is chosen unless the differences are not normal. The percent is
        that of the right side. Empty if all differences are the same.
    """
    difference = left - right
    if np.ptp(difference) == 0:
        return []
    chosen, p_normal = choose_paired(difference)
    verdict = "not normal" if p_normal < ALPHA else "too few to test" if math.isnan(p_normal) else "normal"
    reason = f"differences {verdict} (Shapiro-Wilk p = {p_normal:.3g})"
    common = TestResult(
        "asymmetry", "left_mm3 - right_mm3", "", group_a=group, p_normal_a=p_normal, **describe(left, right)
    )
    t_test = stats.ttest_rel(left, right)
    interval = t_test.confidence_interval(CONFIDENCE)
    scale = 100 / float(right.mean())
    rows = [replace(
        common, test=PAIRED_T, estimate=float(difference.mean()), estimate_low=float(interval.low),
        estimate_high=float(interval.high), percent=scale * float(difference.mean()),
        percent_low=scale * float(interval.low), percent_high=scale * float(interval.high),
        statistic=float(t_test.statistic), df=float(t_test.df), p=float(t_test.pvalue),
    )]  # fmt: skip
    ranks = stats.wilcoxon(left, right)
    rows.append(replace(common, test=WILCOXON, estimate=float(np.median(difference)), statistic=float(ranks.statistic),
                        p=float(ranks.pvalue)))  # fmt: skip
    return [replace(r, chosen=r.test == chosen, reason=reason if r.test == chosen else None) for r in rows]

"""What is told about one test, the table of all tests, and the correction for their number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

import pandas as pd

from bids_hypo.measure.inference import FDR, HOLM, corrected_p

POWER = 0.8


@dataclass(frozen=True)
class TestResult:
    """One test: a row of the table of statistics. `COLUMNS` says what each field means."""

    __test__ = False  # the name is no invitation to pytest

    analysis: str
    measure: str
    test: str
    sample: str = ""
    primary: bool = False
    chosen: bool = True
    reason: str | None = None
    group_a: str | None = None
    group_b: str | None = None
    term: str | None = None
    n_a: int | None = None
    n_b: int | None = None
    mean_a: float | None = None
    sd_a: float | None = None
    median_a: float | None = None
    mean_b: float | None = None
    sd_b: float | None = None
    median_b: float | None = None
    estimate: float | None = None
    estimate_low: float | None = None
    estimate_high: float | None = None
    percent: float | None = None
    percent_low: float | None = None
    percent_high: float | None = None
    hedges_g: float | None = None
    hedges_g_low: float | None = None
    hedges_g_high: float | None = None
    statistic: float | None = None
    df: float | None = None
    df_denominator: float | None = None
    p: float | None = None
    p_holm: float | None = None
    p_fdr: float | None = None
    p_normal_a: float | None = None
    p_normal_b: float | None = None
    p_equal_variance: float | None = None
    power: float | None = None
    n_per_group_for_80_percent: int | None = None
    n_per_arm: int | None = None
    adjusted_for: str | None = None
    note: str | None = None


SERIES_COLUMNS: dict[str, str] = {
    "structure": "Structure, as in the tables of volumes",
    "image": "Kind of image that it was measured on: T1w (UNIT1 too), or another BIDS suffix",
    "part": "whole, or the kind of part",
}
COLUMNS: dict[str, str] = {
    "analysis": "What was asked: comparison (two groups), omnibus (three or more groups), ancova, ancova_covariate, "
    "site_mixed_model, asymmetry (left against right), association (with a clinical score), longitudinal, "
    "rate_comparison (two groups, in the change a year of each person), worsening (yes or no, by logistic regression), "
    "trial (people needed to notice that a loss is slowed), icv_error (the comparison if the ICV of one group were 5 % "
    "off)",
    "measure": "Column of group_volumes.tsv that was tested",
    "test": "Test or model",
    "sample": "Which of the tested scans: all, no_outliers, no_flagged, no_outliers_no_flagged",
    "primary": "Whether this is the sample that the report speaks of",
    "chosen": "Whether this is the test that the rule chose among those of the same question",
    "reason": "Why it was chosen",
    "group_a": "First group (the cases)",
    "group_b": "Second group (the controls)",
    "term": "Term of a model, the clinical score or the column of worsening; trial: how much of which change",
    "n_a": "Participants of the first group, or all participants of a model or correlation with one group; worsening: "
    "who have got worse, so with mean_a, sd_a and median_a",
    "n_b": "Participants of the second group; worsening: who have not got worse",
    "mean_a": "Mean of the first group (asymmetry: left)",
    "sd_a": "Standard deviation of the first group",
    "median_a": "Median of the first group",
    "mean_b": "Mean of the second group (asymmetry: right)",
    "sd_b": "Standard deviation of the second group",
    "median_b": "Median of the second group",
    "estimate": "Difference first minus second group in the unit of the measure (t tests: of the means; Mann-Whitney: "
    "median of all pairwise differences; models: coefficient); association: correlation coefficient; "
    "longitudinal: change in percent per year; worsening: odds ratio for each standard deviation less; trial: "
    "difference between the arms in percentage points a year",
    "estimate_low": "Lower end of its 95 % confidence interval",
    "estimate_high": "Upper end of its 95 % confidence interval",
    "percent": "Difference in percent of the second group",
    "percent_low": "Lower end of its 95 % confidence interval",
    "percent_high": "Upper end of its 95 % confidence interval",
    "hedges_g": "Effect size: Hedges' g",
    "hedges_g_low": "Lower end of its 95 % confidence interval",
    "hedges_g_high": "Upper end of its 95 % confidence interval",
    "statistic": "Test statistic (t, U, F, H, W, z)",
    "df": "Degrees of freedom",
    "df_denominator": "Degrees of freedom of the denominator of F",
    "p": "p value, two-sided, not corrected",
    "p_holm": "p value corrected for its family by Holm: the chosen tests of one analysis in one sample, of one "
    "structure on one kind of image, of the whole or one part",
    "p_fdr": "p value corrected for its family by Benjamini and Hochberg (false discovery rate)",
    "p_normal_a": "Shapiro-Wilk test of the first group (omnibus: the smallest p of all groups; ancova: residuals)",
    "p_normal_b": "Shapiro-Wilk test of the second group",
    "p_equal_variance": "Brown-Forsythe test of equal variances",
    "power": "Achieved power of a t test at alpha 0.05, were the observed g the true one; trial: the power asked for",
    "n_per_group_for_80_percent": "Participants needed in each group for a power of 80 % at the observed g",
    "n_per_arm": "Participants needed in each arm of a trial",
    "adjusted_for": "Covariates, separated by semicolons",
    "note": "What to know about this row",
}
FAMILIES = ("comparison", "omnibus", "ancova", "site_mixed_model", "asymmetry", "association", "longitudinal",
            "rate_comparison", "worsening")  # fmt: skip


def corrected(results: Sequence[TestResult]) -> list[TestResult]:
    """Fill in corrected p values, family by family.

    Parameters
    ----------
    results : sequence of TestResult
        Of one sample. A family is all chosen tests of one analysis.

    Returns
    -------
    list of TestResult
        In the same order. Holm (1979) and Benjamini and Hochberg (1995), by pingouin.
    """
    out = list(results)
    for family in FAMILIES:
        members = [i for i, r in enumerate(out) if r.analysis == family and r.chosen and r.p is not None]
        if not members:
            continue
        p_values = [float(p) for i in members if (p := out[i].p) is not None]
        for i, p_holm, p_fdr in zip(members, corrected_p(p_values, HOLM), corrected_p(p_values, FDR), strict=True):
            out[i] = replace(out[i], p_holm=float(p_holm), p_fdr=float(p_fdr))
    return out


def results_table(results: Iterable[TestResult]) -> pd.DataFrame:
    """One row a test, columns in the order of `COLUMNS`."""
    names = [field.name for field in fields(TestResult)]
    table = pd.DataFrame([[getattr(r, name) for name in names] for r in results], columns=names)
    for name in ("n_a", "n_b", "n_per_group_for_80_percent", "n_per_arm"):
        table[name] = table[name].astype("Int64")
    return table

"""Tests between two or more groups, against published and hand-computed values."""

import math

import numpy as np
import pytest
from scipy import stats

from bids_hypo.stats.compare import (
    KRUSKAL,
    MANN_WHITNEY,
    PAIRED_T,
    STUDENT,
    WELCH,
    WILCOXON,
    choose_test,
    compare_many,
    compare_two,
    left_against_right,
)
from bids_hypo.stats.effects import achieved_power, hedges_g, inverted_interval, needed_per_group
from bids_hypo.stats.results import COLUMNS, TestResult, corrected, results_table

# The worked example of the encyclopaedia's article on Student's t test: screws from two machines.
SCREWS_A = np.array([30.02, 29.99, 30.11, 29.97, 30.01, 29.99])
SCREWS_B = np.array([29.89, 29.93, 29.72, 29.98, 30.02, 29.98])


def _by_test(rows):
    return {row.test: row for row in rows}


def test_student_and_welch_give_the_published_values():
    rows = _by_test(compare_two(SCREWS_A, SCREWS_B, "length", ("a", "b")))
    student, welch = rows[STUDENT], rows[WELCH]
    assert student.estimate == pytest.approx(0.095)
    assert (student.statistic, student.df, student.p) == pytest.approx((1.959, 10, 0.07857), rel=2e-3)
    assert (welch.statistic, welch.df, welch.p) == pytest.approx((1.959, 7.031, 0.09077), rel=2e-3)
    half = stats.t.ppf(0.975, 10) * 0.095 / student.statistic
    assert (student.estimate_low, student.estimate_high) == pytest.approx((0.095 - half, 0.095 + half))
    assert student.percent == pytest.approx(100 * 0.095 / SCREWS_B.mean())


def test_exactly_one_of_three_is_chosen_and_says_why():
    rows = compare_two(SCREWS_A, SCREWS_B, "length", ("a", "b"))
    assert [r.chosen for r in rows].count(True) == 1
    assert all((r.reason is not None) == r.chosen for r in rows)


def test_mann_whitney_by_hand():
    row = _by_test(compare_two(np.array([1.0, 2, 3]), np.array([4.0, 5, 6]), "m", ("a", "b")))[MANN_WHITNEY]
    assert (row.statistic, row.p, row.estimate) == pytest.approx((0, 0.1, -3))  # 2 of 20 orders are as extreme
    assert math.isnan(row.estimate_low)  # with three each no shift can be rejected at 5 %


@pytest.mark.parametrize(
    ("p_normal", "p_variance", "name"),
    [
        ((0.5, 0.5), 0.5, "equal"),
        ((0.5, 0.5), 0.04, "unequal"),
        ((0.04, 0.5), 0.5, "ranks"),
        ((0.04, 0.5), 0.01, "ranks"),
        ((math.nan, math.nan), math.nan, "equal"),
        ((math.nan, 0.01), math.nan, "ranks"),
    ],
)
def test_the_rule(p_normal, p_variance, name):
    assert choose_test(p_normal, p_variance, ("equal", "unequal", "ranks"))[0] == name


def test_intervals_hold_what_the_test_does_not_reject():
    rng = np.random.default_rng(3)
    a, b = rng.normal(775, 62, 15), rng.normal(863, 66, 15)
    rows = _by_test(compare_two(a, b, "m", ("a", "b")))
    for end in (rows[WELCH].percent_low, rows[WELCH].percent_high):
        assert stats.ttest_ind(a, b * (1 + end / 100), equal_var=False).pvalue == pytest.approx(0.05, abs=1e-3)
    ranks = rows[MANN_WHITNEY]
    for end, inwards in ((ranks.estimate_low, 1), (ranks.estimate_high, -1)):
        assert stats.mannwhitneyu(a - end + inwards, b).pvalue < 0.05 or inwards == 1
        assert stats.mannwhitneyu(a - (end + inwards * 2), b).pvalue >= 0.05
        assert stats.mannwhitneyu(a - (end - inwards * 2), b).pvalue <= 0.06
    assert ranks.estimate == pytest.approx(np.median([x - y for x in a for y in b]))


def test_inverted_t_test_is_the_textbook_interval():
    a, b = SCREWS_A, SCREWS_B
    interval = stats.ttest_ind(a, b).confidence_interval()
    found = inverted_interval(lambda d: stats.ttest_ind(a - d, b).pvalue, a.mean() - b.mean(), 0.05)
    assert found == pytest.approx((interval.low, interval.high), abs=1e-5)


def test_hedges_g_by_hand():
    g, low, high = hedges_g(np.array([1.0, 2, 3]), np.array([3.0, 4, 5]))
    assert g == pytest.approx(-2 * (1 - 3 / (4 * 4 - 1)))  # pooled SD 1, small-sample factor with 4 degrees of freedom
    assert low < g < high
    assert math.isnan(hedges_g(np.ones(3), np.ones(3))[0])


def test_power_as_in_cohens_tables():
    assert achieved_power(0.5, 64, 64) == pytest.approx(0.80, abs=0.005)
    assert needed_per_group(0.5) == 64
    assert needed_per_group(-0.8) == 26
    assert needed_per_group(0.0) is None
    assert needed_per_group(40.0) == 2


def test_three_groups():
    groups = {"a": np.array([6.0, 8, 4, 5, 3, 4]), "b": np.array([8.0, 12, 9, 11, 6, 8]),
              "c": np.array([13.0, 9, 11, 8, 7, 12])}  # fmt: skip
    rows = _by_test(compare_many(groups, "m"))
    assert rows["ANOVA"].statistic == pytest.approx(9.3, abs=0.05)  # a textbook example: F(2, 15) = 9.3
    assert (rows["ANOVA"].df, rows["ANOVA"].df_denominator) == (2, 15)
    assert rows["ANOVA"].chosen
    ranks = stats.rankdata(np.concatenate(list(groups.values())))
    h = 12 / (18 * 19) * sum(ranks[i : i + 6].sum() ** 2 / 6 for i in (0, 6, 12)) - 3 * 19
    assert rows[KRUSKAL].statistic == pytest.approx(h, rel=0.02)  # without the correction for ties
    assert rows["Welch ANOVA"].df_denominator < 15


def test_left_and_right():
    left, right = np.array([10.0, 12, 14, 16]), np.array([9.0, 10, 13, 12])
    rows = _by_test(left_against_right(left, right, "g"))
    assert rows[PAIRED_T].estimate == 2
    assert rows[PAIRED_T].statistic == pytest.approx(2 / (np.sqrt(2) / 2))  # differences 1 2 1 4: SD sqrt 2
    assert rows[PAIRED_T].percent == pytest.approx(100 * 2 / 11)
    assert rows[WILCOXON].p == pytest.approx(0.125)  # all four ranks on one side: 2 / 16
    assert left_against_right(left, left - 1, "g") == []


def test_constant_values_give_no_test():
    assert compare_two(np.ones(3), np.ones(3), "m", ("a", "b")) == []
    assert compare_many({"a": np.ones(3), "b": np.ones(3), "c": np.ones(3)}, "m") == []


def test_correction_by_hand_and_only_within_a_family():
    p_values = (0.01, 0.04, 0.03, 0.005)
    rows = [TestResult("comparison", "m", "t", p=p) for p in p_values]
    rows += [TestResult("comparison", "m", "U", p=1e-9, chosen=False), TestResult("asymmetry", "m", "t", p=0.02)]
    done = corrected(rows)
    assert [r.p_holm for r in done[:4]] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert [r.p_fdr for r in done[:4]] == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert done[4].p_holm is None
    assert done[5].p_holm == pytest.approx(0.02)


def test_every_column_is_explained():
    assert list(results_table([]).columns) == list(COLUMNS)

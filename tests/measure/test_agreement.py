"""Agreement against published and hand-computed values."""

import numpy as np
import pandas as pd
import pingouin
import pytest
from scipy import stats

from bids_hypo.measure.agreement import (
    agreement,
    bland_altman,
    coefficient_of_variation_percent,
    intraclass_correlations,
    paired_test,
    pearson,
    proportional_bias,
)

# Peak expiratory flow, l/min, by two meters in 17 persons: Bland and Altman 1986, Lancet 1:307, table 1, first readings
LARGE = np.array([494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427], float)
MINI = np.array([512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451], float)


def test_bland_altman_as_published():
    bias, sd, lower, upper = bland_altman(LARGE, MINI)
    assert bias.value == pytest.approx(-2.1, abs=0.05)
    assert sd == pytest.approx(38.8, abs=0.05)
    assert (bias.low, bias.high) == pytest.approx((-22.0, 17.8), abs=0.1)  # as in the paper
    assert lower.value == pytest.approx(bias.value - 1.96 * sd)
    # the paper rounds 1.96 to 2 and the standard error of a limit to sqrt(3 s^2 / n): 16.3
    assert (upper.high - upper.low) / 2 / stats.t.ppf(0.975, 16) == pytest.approx(16.3, abs=0.4)
    assert (lower.low + lower.high) / 2 == pytest.approx(lower.value)


def test_pearson_as_published():
    assert pearson(LARGE, MINI).value == pytest.approx(0.94, abs=0.005)


def test_icc_by_hand():
    # a constant difference of 1: MSR 5, MSE 0, MSC 2.5, so ICC(3,1) = 1 and ICC(2,1) = 5 / (5 + 2 * 2.5 / 5)
    found = np.array([9.0, 6, 8, 7, 10])
    absolute, consistent = intraclass_correlations(found, found - 1)
    assert absolute.value == pytest.approx(5 / 6)
    assert consistent.value == pytest.approx(1)


def test_icc_of_the_meters_by_hand():
    table = np.stack([LARGE, MINI], axis=1)
    n, k = table.shape
    msr = k * table.mean(axis=1).var(ddof=1)
    msc = n * table.mean(axis=0).var(ddof=1)
    residual = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    mse = (residual**2).sum() / ((n - 1) * (k - 1))
    absolute, consistent = intraclass_correlations(LARGE, MINI)
    assert absolute.value == pytest.approx((msr - mse) / (msr + mse + k * (msc - mse) / n))
    assert consistent.value == pytest.approx((msr - mse) / (msr + mse))
    f = msr / mse
    ends = [f / stats.f.ppf(0.975, n - 1, n - 1), f * stats.f.ppf(0.975, n - 1, n - 1)]
    assert (consistent.low, consistent.high) == pytest.approx([(x - 1) / (x + 1) for x in ends])
    assert absolute.low < absolute.value < absolute.high


def test_the_rounding_of_pingouin_is_restored():
    before = dict(pingouin.options)
    intraclass_correlations(LARGE, MINI)
    assert dict(pingouin.options) == before


def test_proportional_bias_finds_a_planted_slope():
    true = np.linspace(600, 1000, 9)
    found = true * 1.5 - 300  # difference = 0.5 true - 300; mean = 1.25 true - 150: slope 0.4
    slope, p = proportional_bias(found, true)
    assert slope.value == pytest.approx(0.4)
    assert p < 1e-9
    slope, p = proportional_bias(LARGE, MINI)
    expected = stats.linregress((LARGE + MINI) / 2, LARGE - MINI)
    assert (slope.value, p) == pytest.approx((expected.slope, expected.pvalue))
    assert slope.low < 0 < slope.high


def test_coefficient_of_variation_by_hand():
    # pairs (100, 110) and (200, 200): SD 7.07 and 0, means 105 and 200
    expected = 100 * np.sqrt(((10 / np.sqrt(2) / 105) ** 2 + 0) / 2)
    assert coefficient_of_variation_percent(np.array([100.0, 200]), np.array([110.0, 200])) == pytest.approx(expected)


def test_normal_differences_get_the_t_test():
    got = paired_test(LARGE, MINI)
    assert got.test == "paired t" and got.shapiro_p >= 0.05
    expected = (LARGE - MINI).mean() / ((LARGE - MINI).std(ddof=1) / np.sqrt(17))
    assert got.statistic == pytest.approx(expected)


def test_skewed_differences_get_wilcoxons_test():
    true = np.arange(8.0) + 100
    found = true + np.array([1, 2, 3, 4, 5, 6, 7, 900.0])
    got = paired_test(found, true)
    assert (got.test, got.statistic) == ("Wilcoxon signed-rank", 0)
    assert got.p == pytest.approx(2 / 2**8)  # exact: all eight of one sign


@pytest.mark.parametrize("true", [LARGE[:2], LARGE[:0], LARGE])
def test_too_few_or_equal_pairs_have_no_test(true):
    got = agreement(true.copy(), true)
    assert got.test.test == "none" and np.isnan(got.test.p)
    assert got.n == len(true)
    if len(true) == 17:
        assert got.icc_2_1.value == got.icc_3_1.value == 1 and got.bias.value == 0


def test_missing_values_leave_their_pair_out():
    found = np.append(LARGE, [np.nan, 5.0])
    true = np.append(MINI, [5.0, np.nan])
    assert agreement(found, true) == agreement(LARGE, MINI)
    with pytest.raises(ValueError, match="pairs"):
        agreement(LARGE, MINI[:3])


def test_pandas_columns_will_do():
    frame = pd.DataFrame({"a": LARGE, "b": MINI})
    assert agreement(frame["a"].to_numpy(), frame["b"].to_numpy()).n == 17

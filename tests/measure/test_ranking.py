"""Ranks, pairwise tests and correlations with scores."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bids_hypo.measure.inference import HOLM, corrected_p
from bids_hypo.measure.ranking import compare_methods, rank_methods
from bids_hypo.measure.score_association import associate

DICE = pd.DataFrame(
    {
        "good": [0.90, 0.91, 0.88, 0.92, 0.87, 0.93],
        "fair": [0.80, 0.84, 0.79, 0.82, 0.80, 0.81],
        "poor": [0.70, 0.69, 0.75, np.nan, 0.72, 0.71],
    }
)


def test_holm_by_hand():
    assert corrected_p([0.01, 0.03, 0.02], HOLM) == pytest.approx([0.03, 0.04, 0.04])
    with_gap = corrected_p([0.02, float("nan"), 0.5], HOLM)
    assert with_gap[::2] == pytest.approx([0.04, 0.5]) and np.isnan(with_gap[1])


def test_ranking_orders_and_counts_a_miss_as_worst():
    ranking = rank_methods(DICE, higher_is_better=True)
    assert list(ranking.mean_ranks.items()) == [("good", 1.0), ("fair", 2.0), ("poor", 3.0)]
    # all six scans agree: chi2 = 12 / (6 * 3 * 4) * (6^2 + 12^2 + 18^2) - 3 * 6 * 4 = 12
    assert ranking.friedman_chi2 == pytest.approx(12)
    assert ranking.friedman_p == pytest.approx(stats.chi2.sf(12, 2))
    assert list(rank_methods(DICE, higher_is_better=False).mean_ranks)[:1] != ["good"]


def test_ties_share_their_rank():
    ranking = rank_methods(pd.DataFrame({"a": [1.0, 2, 3], "b": [1.0, 2, 3]}), higher_is_better=True)
    assert ranking.mean_ranks == {"a": 1.5, "b": 1.5}
    assert np.isnan(ranking.friedman_p)


def test_pairs_are_tested_on_what_both_have_and_corrected():
    pairs = {(c.first, c.second): c for c in compare_methods(DICE)}
    assert list(pairs) == [("good", "fair"), ("good", "poor"), ("fair", "poor")]
    assert [c.test.n for c in pairs.values()] == [6, 5, 5]
    one = pairs["good", "fair"]
    assert one.difference.value == pytest.approx((DICE["good"] - DICE["fair"]).mean())
    assert one.test.p == pytest.approx(stats.ttest_rel(DICE["good"], DICE["fair"]).pvalue)
    assert one.p_corrected == pytest.approx(corrected_p([c.test.p for c in pairs.values()], HOLM)[0])
    assert one.difference.low < one.difference.value < one.difference.high


def _persons(n=200, age_effect=-5.0, score_effect=0.0):
    rng = np.random.default_rng(3)
    age = rng.uniform(20, 80, n)
    score = 0.5 * age + rng.normal(0, 5, n)
    volume = 1000 + age_effect * age + score_effect * score + rng.normal(0, 20, n)
    sex = np.where(rng.random(n) > 0.5, "f", "m")
    return pd.DataFrame({"volume": volume, "score": score, "age": age, "sex": sex})


def test_correlation_as_in_scipy():
    table = _persons(30)
    got = associate(table, "volume", "score")
    expected = stats.pearsonr(table["volume"], table["score"])
    interval = expected.confidence_interval()
    assert (got.n, got.pearson.value, got.pearson_p) == pytest.approx((30, expected.statistic, expected.pvalue))
    assert (got.pearson.low, got.pearson.high) == pytest.approx((interval.low, interval.high))
    rho = stats.spearmanr(table["volume"], table["score"])
    assert (got.spearman, got.spearman_p) == pytest.approx((rho.statistic, rho.pvalue))


def test_a_covariate_removes_what_it_explains():
    table = _persons()
    assert associate(table, "volume", "score").pearson.value < -0.8
    adjusted = associate(table, "volume", "score", ["age", "sex"])
    assert abs(adjusted.pearson.value) < 0.2
    planted = associate(_persons(score_effect=6.0), "volume", "score", ["age", "sex"])
    assert planted.pearson.value > 0.6


def test_partial_correlation_is_that_of_the_residuals():
    table = _persons(40)
    a, b = (table[c] - np.polyval(np.polyfit(table["age"], table[c], 1), table["age"]) for c in ("volume", "score"))
    assert associate(table, "volume", "score", ["age"]).pearson.value == pytest.approx(stats.pearsonr(a, b).statistic)


def test_too_few_persons_or_no_spread_give_no_number():
    table = _persons(30)
    few = associate(table.head(4), "volume", "score")
    assert few.n == 4 and np.isnan(few.pearson.value)
    flat = associate(table.assign(score=1.0), "volume", "score")
    assert flat.n == 30 and np.isnan(flat.spearman)
    holes = associate(table.assign(score=table["score"].where(table.index > 9)), "volume", "score")
    assert holes.n == 20

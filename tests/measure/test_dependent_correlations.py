"""Two correlations with one score, of volumes of the same people."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bids_hypo.measure.dependent_correlations import compare_correlations


def _volumes(n, noise, seed=0):
    """A true volume, measured with more or less noise; the score follows the true one and age."""
    rng = np.random.default_rng(seed)
    age, true = rng.normal(50, 10, n), rng.normal(0, 1, n)
    table = pd.DataFrame({name: true + sd * rng.normal(size=n) for name, sd in noise.items()})
    return table.assign(age=age, sex=np.where(rng.random(n) < 0.5, "F", "M"),
                        score=-true + 0.15 * (age - 50) + 0.4 * rng.normal(size=n))  # fmt: skip


def test_the_method_with_less_noise_is_told_apart_and_p_is_that_of_the_known_test():
    table = _volumes(120, {"good": 0.2, "fair": 0.3, "poor": 1.2})
    found = {
        (one.first, one.second): one for one in compare_correlations(table, "score", ["good", "fair", "poor"], ["age"])
    }
    worse = found["good", "poor"]
    assert worse.r_first < worse.r_second < 0 and worse.p < 0.002 and worse.difference.high < 0
    assert worse.p_corrected == pytest.approx(3 * worse.p) and worse.n == 120
    near = found["good", "fair"]
    assert near.difference.low < near.difference.value < near.difference.high
    partial = [np.corrcoef(*(stats.linregress(table["age"], table[c]).slope * -table["age"] + table[c]
                             for c in (name, "score")))[0, 1] for name in ("good", "poor")]  # fmt: skip
    assert [worse.r_first, worse.r_second] == pytest.approx(partial)
    again = compare_correlations(table, "score", ["good", "fair", "poor"], ["age"])
    assert [one.p for one in again] == [one.p for one in found.values()]


def test_equal_methods_are_rarely_told_apart():
    p = [compare_correlations(_volumes(40, {"a": 0.5, "b": 0.5}, seed), "score", ["a", "b"])[0].p for seed in range(12)]
    assert np.mean(np.array(p) < 0.1) < 0.4 and max(p) > 0.5
    table = _volumes(40, {"a": 0.5})
    assert compare_correlations(table.assign(b=2 * table["a"] + 1), "score", ["a", "b"])[0].p == 1


def test_too_few_people_give_no_number():
    (few,) = compare_correlations(_volumes(6, {"a": 0.5, "b": 0.5}), "score", ["a", "b"], ["age", "sex"])
    assert few.n == 6 and np.isnan(few.p) and np.isnan(few.difference.value)

"""Whether one of two volumes of the same people goes more closely with a score than the other."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from bids_hypo.measure.agreement import Estimate
from bids_hypo.measure.inference import CONFIDENCE, HOLM, corrected_p
from bids_hypo.measure.score_association import MIN_PERSONS, with_indicators

N_PERMUTATIONS, N_BOOTSTRAP = 4999, 1999
_SEED = 0  # two runs give the same numbers


@dataclass(frozen=True)
class Difference:
    """Two correlations with one score.

    Attributes
    ----------
    first, second : str
        The methods.
    n : int
        People with both volumes, the score and all covariates.
    r_first, r_second : float
        Pearson's r of each, partial if there are covariates.
    difference : Estimate
        First minus second.
    p : float
    p_corrected : float
        After Holm, over the pairs.
    """

    first: str
    second: str
    n: int
    r_first: float
    r_second: float
    difference: Estimate
    p: float
    p_corrected: float = np.nan


def compare_correlations(
    volumes: pd.DataFrame, score: str, methods: Sequence[str], covariates: Sequence[str] = ()
) -> list[Difference]:
    """Compare the correlations of several methods' volumes with a score, pair by pair.

    The volumes of two methods are those of the same people, so the two correlations depend on each other. The interval
    of their difference is a bootstrap over the people (bias-corrected and accelerated); p comes from permutations that
    exchange the two volumes of a person, in standard deviations (both by scipy). Covariates are taken out first, by
    linear regression of score and volumes.

    Parameters
    ----------
    volumes : DataFrame
        One row a person: the score, covariates, and a column for each method.
    score : str
    methods : sequence of str
    covariates : sequence of str

    Returns
    -------
    list of Difference
        NaN with too few people, or where nothing varies.
    """
    found = [_compare(volumes, score, pair, covariates) for pair in combinations(methods, 2)]
    corrected = corrected_p([one.p for one in found], HOLM)
    return [replace(one, p_corrected=float(p)) for one, p in zip(found, corrected, strict=True)]


def _compare(volumes: pd.DataFrame, score: str, pair: tuple[str, str], covariates: Sequence[str]) -> Difference:
    first, second = pair
    known = volumes[[*pair, score, *covariates]].dropna()
    values, adjust = with_indicators(known, [*pair, score], covariates)
    n = len(values)
    flat = n < MIN_PERSONS + len(adjust) or any(values[name].nunique() < 2 for name in (*pair, score))
    if flat:
        return Difference(first, second, n, np.nan, np.nan, Estimate(), np.nan)
    design = np.column_stack([np.ones(n), values[adjust].to_numpy(float)])
    numbers = values[[*pair, score]].to_numpy(float)
    rest = numbers - design @ np.linalg.lstsq(design, numbers, rcond=None)[0]
    if (rest.std(axis=0) <= 1e-9 * np.abs(numbers).max(axis=0)).any():
        return Difference(first, second, n, np.nan, np.nan, Estimate(), np.nan)
    a, b, s = stats.zscore(rest, axis=0).T
    r_first, r_second = float(_r(a, s)), float(_r(b, s))
    if np.allclose(a, b):
        return Difference(first, second, n, r_first, r_second, Estimate(0.0, 0.0, 0.0), 1.0)
    return Difference(first, second, n, r_first, r_second, _interval(a, b, s), _p(a, b, s))


def _r(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
    """Pearson's r along an axis; samples of a bootstrap are many at once."""
    a = a - a.mean(axis=axis, keepdims=True)
    b = b - b.mean(axis=axis, keepdims=True)
    with np.errstate(invalid="ignore"):
        return (a * b).sum(axis=axis) / np.sqrt((a * a).sum(axis=axis) * (b * b).sum(axis=axis))


def _interval(a: np.ndarray, b: np.ndarray, s: np.ndarray) -> Estimate:
    def difference(x: np.ndarray, y: np.ndarray, z: np.ndarray, axis: int = -1) -> np.ndarray:
        return _r(x, z, axis) - _r(y, z, axis)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = stats.bootstrap(
            (a, b, s), difference, paired=True, vectorized=True, n_resamples=N_BOOTSTRAP, confidence_level=CONFIDENCE,
            method="BCa", random_state=np.random.default_rng(_SEED),
        ).confidence_interval  # fmt: skip
    return Estimate(float(difference(a, b, s)), float(found.low), float(found.high))


def _p(a: np.ndarray, b: np.ndarray, s: np.ndarray) -> float:
    def difference(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
        return _r(x, s, axis) - _r(y, s, axis)

    found = stats.permutation_test(
        (a, b), difference, permutation_type="samples", vectorized=True, n_resamples=N_PERMUTATIONS,
        random_state=np.random.default_rng(_SEED),
    )  # fmt: skip
    return float(found.pvalue)

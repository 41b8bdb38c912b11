"""Several methods on the same scans: ranks, and which differ."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from bids_hypo.measure.agreement import NO_TEST, Estimate, PairedTest, paired_test
from bids_hypo.measure.inference import HOLM, corrected_p


@dataclass(frozen=True)
class Ranking:
    """Methods from best to worst by one metric.

    Attributes
    ----------
    n : int
        Scans.
    mean_ranks : dict of str to float
        1 is best; ordered from best to worst.
    friedman_chi2, friedman_p : float
        Whether any method differs; NaN with fewer than three methods or scans.
    """

    n: int
    mean_ranks: dict[str, float]
    friedman_chi2: float
    friedman_p: float


@dataclass(frozen=True)
class Comparison:
    """Two methods by one metric.

    Attributes
    ----------
    first, second : str
    difference : Estimate
        Mean of first minus second, with the interval of t.
    test : PairedTest
    p_corrected : float
        After Holm, over all pairs of methods by this metric.
    """

    first: str
    second: str
    difference: Estimate
    test: PairedTest
    p_corrected: float


def rank_methods(values: pd.DataFrame, *, higher_is_better: bool) -> Ranking:
    """Rank methods scan by scan and average the ranks.

    Parameters
    ----------
    values : DataFrame
        One row a scan, one column a method. A missing value (nothing was found) counts as the worst.
    higher_is_better : bool

    Returns
    -------
    Ranking
    """
    worst = -np.inf if higher_is_better else np.inf
    filled = values.astype(float).fillna(worst)
    ranks = stats.rankdata(-filled if higher_is_better else filled, axis=1)
    means = pd.Series(ranks.mean(axis=0) if len(values) else np.nan, index=values.columns)
    chi2, p = np.nan, np.nan
    if values.shape[1] >= 3 and len(values) >= 3 and np.ptp(ranks, axis=1).any():
        # on the ranks: the test ranks again, and missing values have their place already
        chi2, p = (float(x) for x in stats.friedmanchisquare(*ranks.T))
    ordered = {str(name): float(rank) for name, rank in means.sort_values(kind="stable").items()}
    return Ranking(len(values), ordered, chi2, p)


def compare_methods(values: pd.DataFrame) -> list[Comparison]:
    """Paired tests of all pairs of methods, corrected after Holm.

    Parameters
    ----------
    values : DataFrame
        One row a scan, one column a method; pairs with a missing value are left out.

    Returns
    -------
    list of Comparison
    """
    pairs = list(combinations(values.columns, 2))
    tests = [paired_test(values[a].to_numpy(float), values[b].to_numpy(float)) for a, b in pairs]
    corrected = [float(p) for p in corrected_p([t.p for t in tests], HOLM)]
    return [
        Comparison(str(a), str(b), _mean_difference(values[a] - values[b]), test, p)
        for (a, b), test, p in zip(pairs, tests, corrected, strict=True)
    ]


def _mean_difference(difference: pd.Series) -> Estimate:
    known = difference.dropna().to_numpy(float)
    if len(known) < 3:
        return Estimate(float(known.mean()) if len(known) else np.nan)
    low, high = stats.ttest_1samp(known, 0).confidence_interval() if np.ptp(known) else (known[0], known[0])
    return Estimate(float(known.mean()), float(low), float(high))


__all__ = ["NO_TEST", "Comparison", "Ranking", "compare_methods", "rank_methods"]

"""How large a difference is: intervals by turning a test around, Hedges' g, power."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pingouin
from scipy import optimize
from statsmodels.stats.power import TTestIndPower

from bids_hypo.measure.inference import ALPHA, CONFIDENCE
from bids_hypo.stats.results import POWER

Interval = tuple[float, float]
UNKNOWN: Interval = (math.nan, math.nan)
_WIDEST = 1e4


def inverted_interval(p_at: Callable[[float], float], estimate: float, step: float) -> Interval:
    """Confidence interval of an effect: all values that a test at 5 % does not reject.

    Parameters
    ----------
    p_at : callable
        p value of the test after the value was taken out of the data; high near the estimate, falling to both sides.
    estimate : float
    step : float
        A first guess of the half width, above 0.

    Returns
    -------
    (low, high)
        NaN where the interval has no end.
    """

    def excess(value: float) -> float:
        return p_at(value) - ALPHA

    ends = []
    for sign in (-1.0, 1.0):
        reach, end = step, math.nan
        while reach < _WIDEST * step:
            if excess(estimate + sign * reach) < 0:
                low, high = sorted((estimate, estimate + sign * reach))
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    end = optimize.brentq(excess, low, high, xtol=step * 1e-4) if excess(estimate) > 0 else math.nan
                break
            reach *= 2
        ends.append(float(end))
    return ends[0], ends[1]


def hedges_g(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """Hedges' g (Hedges 1981) of a - b with its 95 % interval, by pingouin; NaN if nothing varies."""
    if len(a) < 2 or len(b) < 2 or np.var(a) + np.var(b) == 0:
        return math.nan, math.nan, math.nan
    g = float(pingouin.compute_effsize(a, b, eftype="hedges"))
    low, high = pingouin.compute_esci(g, len(a), len(b), eftype="hedges", confidence=CONFIDENCE, decimals=6)
    return g, float(low), float(high)


def achieved_power(g: float, n_a: int, n_b: int) -> float:
    """Power of a two-sided t test at 5 %, were `g` the true effect (statsmodels)."""
    if not math.isfinite(g):
        return math.nan
    return float(TTestIndPower().power(effect_size=abs(g), nobs1=n_a, alpha=ALPHA, ratio=n_b / n_a))


def needed_per_group(g: float, power: float = POWER) -> int | None:
    """Participants in each of two equal groups for a power (80 % unless told) at `g`; None if g is below 0.01."""
    if not math.isfinite(g) or abs(g) < 0.01:
        return None
    if abs(g) > 5:  # statsmodels' solver looks above two participants only
        return 2
    found = TTestIndPower().solve_power(effect_size=abs(g), alpha=ALPHA, power=power, ratio=1.0)
    return math.ceil(float(np.ravel(found)[0]))

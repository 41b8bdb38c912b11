"""How many people a trial would need that wants to slow the loss of volume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from bids_hypo.measure.inference import CONFIDENCE
from bids_hypo.stats.effects import needed_per_group
from bids_hypo.stats.rates import RATE, rates_of
from bids_hypo.stats.results import TestResult

SLOWING = (0.25, 0.5)
POWERS = (0.8, 0.9)
MIN_PEOPLE = 5
TEST = "two arms, two-sided t test of the change a year"


def trial_sizes(repeated: pd.DataFrame, cases: Sequence[str], control: str) -> list[TestResult]:
    """People in each of two equal arms, so that a drug that slows the loss would be noticed.

    The effect is the share of the mean change a year that the drug takes away, over the standard deviation of the
    changes of the people; the number is that of a two-sided t test at 5 % (statsmodels). It is given for all of the
    change, and for what exceeds that of the controls, which no drug against the disease would take away.

    Parameters
    ----------
    repeated : DataFrame
        See `bids_hypo.stats.longitudinal.choose_repeated`.
    cases, control : sequence of str, str

    Returns
    -------
    list of TestResult
        A row for each group of cases, share, power and kind of change. ``estimate`` is the difference between the arms
        in percentage points a year, ``hedges_g`` the same in standard deviations; the note has the numbers for the ends
        of the interval of the mean change. Groups with fewer than five people, or without loss, are left out.
    """
    rows, of_control = [], rates_of(repeated, control)
    for group in cases:
        rates = rates_of(repeated, group)
        if len(rates) < MIN_PEOPLE or np.ptp(rates) == 0:
            continue
        interval = stats.ttest_1samp(rates, 0).confidence_interval(CONFIDENCE)
        changes = {"all of the change": (float(rates.mean()), float(interval.low), float(interval.high))}
        if len(of_control) >= MIN_PEOPLE:
            test = stats.ttest_ind(rates, of_control, equal_var=False)
            excess = test.confidence_interval(CONFIDENCE)
            changes[f"what exceeds {control}"] = (
                float(rates.mean() - of_control.mean()), float(excess.low), float(excess.high)
            )  # fmt: skip
        for what, change in changes.items():
            rows += _rows(group, rates, what, change)
    return rows


def _rows(group: str, rates: np.ndarray, what: str, change: tuple[float, float, float]) -> list[TestResult]:
    mean, low, high = change
    sd = float(rates.std(ddof=1))
    rows = []
    for share in SLOWING if mean < 0 else ():
        effect = [-share * value for value in (mean, high, low)]
        for power in POWERS:
            needed, most, least = (needed_per_group(one / sd, power) if one > 0 else None for one in effect)
            ends = f"{least} to {most or 'any number'} for the ends of the interval of the change"
            rows.append(TestResult(
                "trial", RATE, f"{TEST}, power {100 * power:g} %", group_a=group,
                term=f"{100 * share:g} % of {what}", n_a=len(rates),
                mean_a=float(rates.mean()), sd_a=sd, estimate=effect[0], estimate_low=effect[1],
                estimate_high=effect[2], hedges_g=effect[0] / sd, hedges_g_low=effect[1] / sd,
                hedges_g_high=effect[2] / sd, power=power, n_per_arm=needed, note=ends,
            ))  # fmt: skip
    return rows

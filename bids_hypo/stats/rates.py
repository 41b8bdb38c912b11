"""How fast the volume of each person changes, and how that differs between groups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from bids_hypo.stats.compare import compare_two
from bids_hypo.stats.groups import Groups
from bids_hypo.stats.longitudinal import choose_repeated
from bids_hypo.stats.results import TestResult
from bids_hypo.stats.table import VOLUME

RATE = "change_percent_per_year"
_SMALLEST_GROUP = 2


def add_rates(table: pd.DataFrame) -> pd.DataFrame:
    """Add ``change_percent_per_year`` of the person to every scan; NaN where it is not known.

    Parameters
    ----------
    table : DataFrame
        All scans of a series, as for `choose_repeated`.
    """
    return table.assign(**{RATE: table["participant_id"].map(person_rates(choose_repeated(table))).astype(float)})


def person_rates(repeated: pd.DataFrame, measure: str = VOLUME) -> pd.Series:
    """Percent a year by which each person's volume changes.

    100 (exp(b) - 1), b the slope of a straight line through the logarithms of the person's volumes over the years: with
    two sessions the ratio of both, to the power of one over the years between them.

    Parameters
    ----------
    repeated : DataFrame
        See `choose_repeated`; scans without the measure, or with 0, do not count.
    measure : str

    Returns
    -------
    Series of float
        By participant_id; people with two sessions or more.
    """
    data = repeated[repeated[measure] > 0]
    found = {}
    for person, rows in data.groupby("participant_id"):
        if rows["years"].nunique() > 1:
            years = rows["years"].to_numpy(float)
            slope = np.polyfit(years - years.mean(), np.log(rows[measure].to_numpy(float)), 1)[0]
            found[str(person)] = 100 * float(np.expm1(slope))
    return pd.Series(found, dtype=float)


def rates_of(repeated: pd.DataFrame, group: str) -> np.ndarray:
    """The rates of the people of a group, (n,) float, percent a year."""
    return person_rates(repeated[repeated["group"] == group]).to_numpy(float)


def compare_rates(repeated: pd.DataFrame, groups: Groups) -> list[TestResult]:
    """The tests of two groups on the rates of their people, with effect sizes; see `compare_two`."""
    rates = {name: rates_of(repeated, name) for name in groups.all}
    rows = []
    for a, b in groups.pairs:
        if min(len(rates[a]), len(rates[b])) >= _SMALLEST_GROUP:
            rows += [replace(r, analysis="rate_comparison", percent=None, percent_low=None, percent_high=None)
                     for r in compare_two(rates[a], rates[b], RATE, (a, b))]  # fmt: skip
    return rows

"""Numbers that cannot be true, or lie so far off that they may stand for something else."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from bids_hypo.bids.columns import fold
from bids_hypo.bids.entities import shorten

OLDEST_YEARS = 120.0
FAR_SD = 6.0  # robust standard deviations
_FEWEST = 5  # values that tell how far is far
_SD_PER_MAD = 1.4826  # of a normal distribution


def is_age(years: float) -> bool:
    """Whether a person can be of this age."""
    return 0 <= years <= OLDEST_YEARS


def is_age_column(name: str) -> bool:
    """Whether a column holds ages, by its name."""
    return fold(name) == "age"


def check_numbers(values: pd.Series, people: pd.Series, name: str, files: Iterable[str]) -> tuple[pd.Series, list[str]]:
    """Take ages that nobody has, such as codes for missing, for missing, and find numbers that lie far off.

    Parameters
    ----------
    values : Series of float
        Ages in years.
    people : Series of str
        Whose they are.
    name : str
        Of the column.
    files : iterable of str
        Where each comes from.

    Returns
    -------
    values : Series of float
    remarks : list of str
    """
    wrong = values.notna() & ~values.map(is_age) & is_age_column(name)
    remarks = []
    if wrong.any():
        found = {f"{age:g} ({who})" for age, who in zip(values[wrong], people[wrong], strict=True)}
        where = shorten({Path(file).name for file, bad in zip(files, wrong, strict=True) if bad}, at_most=3)
        remarks.append(f"Column {name} of {where}: {shorten(found)} taken for missing; an age is 0 to {OLDEST_YEARS:g} "
                       "years.")  # fmt: skip
        values = values.where(~wrong)
    far = _far(values, people, name)
    return values, [*remarks, far] if far else remarks


def _far(values: pd.Series, people: pd.Series, name: str) -> str:
    """A remark on numbers more than six robust standard deviations (1.4826 MAD) from the median; empty if none is."""
    known = pd.DataFrame({"value": values, "who": people}).dropna().drop_duplicates()
    median = known["value"].median()
    distance = (known["value"] - median).abs()
    spread = _SD_PER_MAD * float(distance.median()) if len(known) >= _FEWEST else 0.0
    far = known[distance > FAR_SD * spread] if np.isfinite(spread) and spread > 0 else known[:0]
    if far.empty:
        return ""
    found = {f"{value:g} ({who})" for value, who in far.itertuples(index=False)}
    return (
        f"Column {name}: {shorten(found)} lies more than {FAR_SD:g} robust standard deviations from the median "
        f"{median:g}, and is used. Is it a code for a missing value? Then write n/a."
    )

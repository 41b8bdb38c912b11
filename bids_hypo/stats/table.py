"""Columns computed for every scan: normalised volumes, asymmetry, and which scan of a person is tested."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from bids_hypo.bids.columns import natural

SIDES = ("left_mm3", "right_mm3")
VOLUME = "volume_mm3"
ICV = "icv_mm3"
NORMALISED = "normalised_mm3"
RESIDUAL = "residual_mm3"
ASYMMETRY = "asymmetry_percent"
HARMONISED = "harmonised_mm3"
SUSCEPTIBILITY = ("mean_ppm", "contrast_ppm")  # there where susceptibility maps were measured
FURTHER_SCANS = ("later session", "another scan of the session")
TESTED_MEASURES = (NORMALISED, VOLUME, RESIDUAL, *SIDES, ICV, ASYMMETRY)


def normalise(table: pd.DataFrame, controls: pd.Series) -> tuple[pd.DataFrame, float | None]:
    """Volumes relative to the size of the head.

    Parameters
    ----------
    table : DataFrame
        With volume_mm3, left_mm3, right_mm3 (NaN where there are no sides) and icv_mm3 (NaN where not measurable).
    controls : Series of bool
        The scans of the controls that give the mean ICV.

    Returns
    -------
    table : DataFrame
        With ``ratio`` V / V_ICV; ``normalised_mm3`` = V / V_ICV * mean(V_ICV of controls), equation 1 of Vernikouskaya
        et al. (2023); ``residual_mm3`` = V - b (V_ICV - mean(V_ICV of controls)), b the slope of V on V_ICV among the
        controls (the residual method; NaN with fewer than three of them); ``asymmetry_percent`` = 100 (L - R) over the
        mean of L and R.
    mean_icv_mm3 : float or None
        Of the controls; None if none was measurable.
    """
    usable = table[controls & table[ICV].notna()]
    mean_icv = float(usable[ICV].mean()) if len(usable) else np.nan
    slope = np.nan
    if len(usable) >= 3 and usable[ICV].nunique() > 1:
        slope = float(stats.linregress(usable[ICV], usable[VOLUME]).slope)
    left, right = (table[side] for side in SIDES)
    out = table.assign(
        ratio=table[VOLUME] / table[ICV],
        normalised_mm3=table[VOLUME] / table[ICV] * mean_icv,
        residual_mm3=table[VOLUME] - slope * (table[ICV] - mean_icv),
        asymmetry_percent=100 * (left - right) / ((left + right) / 2),
    )
    return out, (mean_icv if len(usable) else None)


def choose_tested(table: pd.DataFrame) -> pd.DataFrame:
    """Choose one scan a person for the tests between groups; nothing is averaged.

    Among a person's scans that nothing speaks against: the first session (by time, else by label), in it those
    without flags before those with, then the lowest run, then the name.

    Parameters
    ----------
    table : DataFrame
        With participant_id, session_id, run, scan, years, flagged and ``not_tested`` (the reason, None if
        there is none).

    Returns
    -------
    DataFrame
        With ``not_tested`` filled in and ``tested`` (bool); rows as before.
    """
    free = table[table["not_tested"].isna()]
    columns = ("participant_id", "session_id", "years", "flagged", "run", "scan")
    rows = sorted(zip(free.index, *(free[name] for name in columns), strict=True), key=_order)
    first: dict[str, object] = {}
    reasons = table["not_tested"].astype(object).copy()
    for index, person, session, *_ in rows:
        if person not in first:
            first[person] = natural(session)
        else:
            reasons[index] = FURTHER_SCANS[int(natural(session) == first[person])]
    return table.assign(not_tested=reasons, tested=reasons.isna())


def _order(row: tuple) -> tuple:
    _, _, session, years, flagged, run, scan = row
    time = np.inf if years is None or pd.isna(years) else float(years)
    return (time, natural(session), bool(flagged), natural(run), natural(scan))


def samples(tested: pd.DataFrame, *, outliers_removed: bool) -> dict[str, pd.DataFrame]:
    """The four sets of scans in which every test is done.

    Parameters
    ----------
    tested : DataFrame
        The tested scans with ``outlier`` and ``flagged``.
    outliers_removed : bool
        Whether there is a rule for outliers at all.

    Returns
    -------
    dict of str to DataFrame
        all, no_outliers, no_flagged, no_outliers_no_flagged; without a rule for outliers only the first and third.
    """
    quiet, inside = ~tested["flagged"].astype(bool), ~tested["outlier"].astype(bool)
    sets = {"all": tested, "no_flagged": tested[quiet]}
    if outliers_removed:
        sets |= {"no_outliers": tested[inside], "no_outliers_no_flagged": tested[inside & quiet]}
    return sets


def design_matrix(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Covariates as numbers: numeric ones centred, categories as 0/1 columns of all but their most frequent level.

    Columns that do not vary, or that add nothing to the ones before, are left out.
    """
    parts: list[pd.DataFrame] = []
    for name in columns:
        column = table[name]
        if pd.api.types.is_numeric_dtype(column):
            parts.append(pd.DataFrame({name: column - column.mean()}))
            continue
        levels = column.value_counts().sort_index().sort_values(ascending=False, kind="stable").index[1:]
        parts.append(pd.DataFrame({f"{name}: {level}": (column == level).astype(float) for level in levels},
                                  index=table.index))  # fmt: skip
    full = pd.concat([pd.DataFrame(index=table.index), *parts], axis=1)
    kept = pd.DataFrame({"": 1.0}, index=table.index)
    for name in map(str, full):
        scaled = full[name] / (full[name].abs().max() or 1.0)
        wider = kept.assign(**{name: scaled})
        if np.linalg.matrix_rank(wider.to_numpy(float)) == wider.shape[1]:
            kept = wider
    return full[[name for name in kept if name != ""]]

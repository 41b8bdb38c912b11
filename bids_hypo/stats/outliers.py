"""Outliers within groups, implausible ICVs, and how many scans are accepted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bids_hypo.stats.table import ICV, NORMALISED, VOLUME

OUTLIER_MEASURES = (VOLUME, ICV, NORMALISED)
MAX_ICV_ERROR = 0.05
MIN_GROUP = 4
_WHISKER = 1.5


def iqr_bounds(values: Sequence[float] | np.ndarray | pd.Series) -> tuple[float, float] | None:
    """[Q1 - 1.5 IQR, Q3 + 1.5 IQR], the rule of Vernikouskaya et al. (2023); None with fewer than four values."""
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    if finite.size < MIN_GROUP:
        return None
    q1, q3 = np.quantile(finite, [0.25, 0.75])
    return float(q1 - _WHISKER * (q3 - q1)), float(q3 + _WHISKER * (q3 - q1))


def mark_outliers(table: pd.DataFrame, rule: str) -> pd.DataFrame:
    """Mark outliers of the volume, the ICV or the normalised volume within each group.

    Parameters
    ----------
    table : DataFrame
        All scans, with group, tested and the measures.
    rule : {"iqr", "none"}
        The bounds of a group come from its tested scans and are applied to all its scans.

    Returns
    -------
    DataFrame
        With ``outlier_of`` (measures separated by semicolons, None) and ``outlier`` (bool).
    """
    of: dict[object, list[str]] = {i: [] for i in table.index}
    if rule == "iqr":
        for _, group in table.groupby("group", dropna=True):
            for measure in OUTLIER_MEASURES:
                bounds = iqr_bounds(group.loc[group["tested"], measure])
                if bounds is None:
                    continue
                outside = (group[measure] < bounds[0]) | (group[measure] > bounds[1])
                for i in group.index[outside]:
                    of[i].append(measure)
    texts = [";".join(of[i]) or None for i in table.index]
    return table.assign(outlier_of=pd.Series(texts, index=table.index, dtype=object), outlier=[bool(t) for t in texts])


def icv_doubtful(table: pd.DataFrame) -> pd.Series:
    """Whether the ICV of a scan may be more than 5 % wrong.

    An error of the ICV passes fully into the normalised volume: 5 % is more than the difference between ALS and
    controls. The skull does not change in an adult, so an ICV that differs by more than 5 % from the median of the same
    person's scans is doubtful; of two that differ by more than 5 % both are. So is one whose folds disagree: 1.96
    standard deviations above 5 %.

    Parameters
    ----------
    table : DataFrame
        All scans that are not rated bad, with participant_id, icv_mm3 and icv_sd_mm3.

    Returns
    -------
    Series of bool
    """
    by_person = table.groupby("participant_id")[ICV]
    of_two = by_person.transform("count") <= 2
    apart = by_person.transform("max") / by_person.transform("min") - 1 > MAX_ICV_ERROR
    off = (table[ICV] / by_person.transform("median") - 1).abs() > MAX_ICV_ERROR
    folds = 1.96 * table["icv_sd_mm3"] > MAX_ICV_ERROR * table[ICV]
    return (apart.where(of_two, off) | folds) & table[ICV].notna()


def acceptance(table: pd.DataFrame, groups: Sequence[str]) -> pd.DataFrame:
    """How many scans of each group are usable.

    Parameters
    ----------
    table : DataFrame
        All scans.
    groups : sequence of str

    Returns
    -------
    DataFrame
        One row a group: scans, rated_bad, participants, tested, flagged, no_icv, icv_doubtful, outliers, accepted and
        acceptance_percent: the tested scans that are no outliers, as in Vernikouskaya et al. (2023), among the tested
        ones and the participants that have only scans rated bad.
    """
    rows = []
    for name in groups:
        here = table[table["group"] == name]
        tested = here[here["tested"]]
        bad = here["rating"] == "bad"
        only_bad = int((bad.groupby(here["participant_id"]).all()).sum()) if len(here) else 0
        accepted, judged = int((~tested["outlier"]).sum()), len(tested) + only_bad
        rows.append({
            "group": name,
            "participants": int(here["participant_id"].nunique()),
            "scans": len(here),
            "rated_bad": int(bad.sum()),
            "tested": len(tested),
            "flagged": int(tested["flagged"].sum()),
            "no_icv": int(tested[ICV].isna().sum()),
            "icv_doubtful": int(tested["icv_doubtful"].sum()),
            "outliers": int(tested["outlier"].sum()),
            "accepted": accepted,
            "acceptance_percent": 100 * accepted / judged if judged else np.nan,
        })  # fmt: skip
    return pd.DataFrame(rows)

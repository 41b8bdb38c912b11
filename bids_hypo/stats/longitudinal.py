"""Change of volumes over time, and whether it differs between groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from bids_hypo.stats.ancova import held
from bids_hypo.stats.mixed import fit_mixed, wald
from bids_hypo.stats.results import TestResult
from bids_hypo.stats.table import FURTHER_SCANS, design_matrix

MIN_PARTICIPANTS = 2
MIN_FOR_SLOPES = 5
_MODELS = ("linear model", "mixed model, random intercept of participant",
           "mixed model, random intercept and slope of participant")  # fmt: skip


def choose_repeated(table: pd.DataFrame) -> pd.DataFrame:
    """Scans for the analysis over time: one a session, of participants with two or more sessions at known times.

    Parameters
    ----------
    table : DataFrame
        All scans with participant_id, session_id, years (since the person's first scan), group, flagged and
        not_tested. Scans that are not tested for another reason than being a further one of their person are left out.

    Returns
    -------
    DataFrame
        Sorted by participant and time; in a session the scan without flags and with the lowest name.
    """
    usable = table[table["not_tested"].isna() | table["not_tested"].isin(FURTHER_SCANS)]
    usable = usable[usable["years"].notna() & usable["session_id"].notna()]
    usable = usable.sort_values(["participant_id", "years", "flagged", "scan"], kind="stable")
    usable = usable.drop_duplicates(["participant_id", "session_id"])
    several = usable.groupby("participant_id")["years"].transform("nunique") >= 2
    return usable[several]


def change_over_time(
    repeated: pd.DataFrame, measure: str, cases: Sequence[str], control: str, covariates: Sequence[str]
) -> list[TestResult]:
    """Percent change a year of each group, and how the case groups differ from the controls.

    The logarithm of the measure is modelled, so that a slope is a relative change: log V = group + years + group x
    years + covariates, with a random intercept for each participant, and a random slope where at least five have three
    or more sessions (statsmodels MixedLM, REML, Wald intervals). Change = 100 (exp(slope) - 1).

    Parameters
    ----------
    repeated : DataFrame
        See `choose_repeated`.
    measure : str
        A volume; scans without it, or with 0, are left out.
    cases, control : sequence of str, str
        Groups with fewer than two participants are left out.
    covariates : sequence of str
        Their first value of each participant counts.

    Returns
    -------
    list of TestResult
        ``term`` is ``years`` (a group's change) or ``group x years`` (difference to the controls, in percentage points
        of the ratio of yearly factors).
    """
    data = repeated[repeated[measure] > 0].copy()  # 0 has no logarithm: a part that was not found
    for name in covariates:
        data[name] = data.groupby("participant_id")[name].transform("first")
    data = data.dropna(subset=list(covariates))
    data = data[data.groupby("participant_id")["years"].transform("nunique") >= 2]
    people = data.groupby("group")["participant_id"].nunique()
    groups = [g for g in (control, *cases) if people.get(g, 0) >= MIN_PARTICIPANTS]
    data = data[data["group"].isin(groups)]
    if not groups:
        return []
    design = _design(data, groups, covariates)
    sessions = data.groupby("participant_id")["session_id"].nunique()
    years = data["years"].to_numpy(float)
    random = np.column_stack([np.ones(len(data)), years]) if (sessions >= 3).sum() >= MIN_FOR_SLOPES else None
    logarithm = np.log(data[measure].to_numpy(float))
    fit = fit_mixed(logarithm, design.to_numpy(float), data["participant_id"].to_numpy(str), random)
    if fit is None:
        return []
    followed = float(data.groupby("participant_id")["years"].max().mean())
    note = "; ".join(x for x in (f"{len(data)} scans over {followed:.2f} years on average", fit.trouble) if x)
    common = TestResult("longitudinal", measure, _MODELS[fit.random_terms], note=note,
                        adjusted_for="; ".join(held(covariates, design)) or None)  # fmt: skip
    # The first group's slope is the column of time; each other group's is that plus its product with time.
    rows = []
    for name in groups:
        weights = (design.columns == "years") + 1.0 * (design.columns == f"years x {name}")
        rows.append(replace(common, term="years", group_a=name, n_a=int(people[name]), **_percent(wald(fit, weights))))
    for name in groups[1:] if control in groups else []:
        found = _percent(wald(fit, (design.columns == f"years x {name}").astype(float)))
        rows.append(replace(common, term="group x years", group_a=name, group_b=control, n_a=int(people[name]),
                            n_b=int(people[control]), **found))  # fmt: skip
    return rows


def _design(data: pd.DataFrame, groups: Sequence[str], covariates: Sequence[str]) -> pd.DataFrame:
    """Constant, time, the other groups and their products with time, and covariates if they add something."""
    columns = {"const": np.ones(len(data)), "years": data["years"].to_numpy(float)}
    for name in groups[1:]:
        inside = (data["group"] == name).to_numpy(float)
        columns |= {f"is {name}": inside, f"years x {name}": inside * columns["years"]}
    design = pd.DataFrame(columns, index=data.index)
    full = pd.concat([design, design_matrix(data, covariates)], axis=1)
    independent = np.linalg.matrix_rank(full.to_numpy(float)) == full.shape[1]
    return full if independent else design


def _percent(found: dict[str, float]) -> dict[str, Any]:
    """Slopes of logarithms as percent a year."""
    percent = {name: 100 * float(np.expm1(value)) for name, value in found.items() if name.startswith("estimate")}
    return found | percent

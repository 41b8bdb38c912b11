"""All tests of a study, in every sample."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bids_hypo.stats.ancova import ancova
from bids_hypo.stats.association import associate
from bids_hypo.stats.compare import compare_many, compare_two, left_against_right
from bids_hypo.stats.groups import Groups
from bids_hypo.stats.longitudinal import MIN_PARTICIPANTS, change_over_time, choose_repeated
from bids_hypo.stats.mixed import site_model
from bids_hypo.stats.outliers import MAX_ICV_ERROR
from bids_hypo.stats.rates import RATE, compare_rates
from bids_hypo.stats.results import TestResult, corrected, results_table
from bids_hypo.stats.table import (
    ASYMMETRY,
    FURTHER_SCANS,
    HARMONISED,
    ICV,
    NORMALISED,
    RESIDUAL,
    SIDES,
    SUSCEPTIBILITY,
    TESTED_MEASURES,
    VOLUME,
    samples,
)
from bids_hypo.stats.trial import trial_sizes
from bids_hypo.stats.worsening import worsening

SMALLEST_GROUP = 2


@dataclass(frozen=True)
class Design:
    """What is tested.

    Attributes
    ----------
    groups : Groups
    covariates : tuple of str
        Held equal in linear models and correlations.
    scores : tuple of str
        Clinical scores, correlated within each case group.
    site : str or None
        Column that names the scanner or centre.
    worsened : str or None
        Column that tells who has got worse, 1 or 0.
    outlier_rule : str
        ``iqr`` or ``none``.
    """

    groups: Groups
    covariates: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    site: str | None = None
    worsened: str | None = None
    outlier_rule: str = "iqr"

    @property
    def primary_sample(self) -> str:
        """Name of the sample that the report speaks of."""
        return "all" if self.outlier_rule == "none" else "no_outliers"


def analyse(table: pd.DataFrame, design: Design) -> pd.DataFrame:
    """Do every test in every sample.

    Parameters
    ----------
    table : DataFrame
        All scans, with the columns that `bids_hypo.stats.table` and `bids_hypo.stats.outliers` add.
    design : Design

    Returns
    -------
    DataFrame
        See `bids_hypo.stats.results.COLUMNS`. Questions for which a sample has too few scans are left out.
    """
    tested = table[table["tested"] & table["group"].isin(design.groups.all)]
    repeated = followed(table[table["group"].isin(design.groups.all)])
    over_time = samples(repeated, outliers_removed=design.outlier_rule != "none")
    rows: list[TestResult] = []
    done: dict[tuple, list[TestResult]] = {}
    for name, sample in samples(tested, outliers_removed=design.outlier_rule != "none").items():
        key = (*sample.index, -1, *over_time[name].index)
        if key not in done:
            done[key] = corrected([*_across(sample, design), *_through_time(over_time[name], design)])
        rows += [replace(r, sample=name, primary=name == design.primary_sample) for r in done[key]]
    return results_table(rows)


def followed(table: pd.DataFrame) -> pd.DataFrame:
    """Scans for the analysis over time, with ``outlier`` as it is meant there.

    A structure that has shrunk must not be an outlier for that: a later scan is one only by its ICV, which does not
    change, or if the person's tested scan is one.
    """
    people = table.loc[table["tested"] & table["outlier"], "participant_id"]
    repeated = choose_repeated(table)
    by_icv = np.array([ICV in str(measures).split(";") for measures in repeated["outlier_of"]], dtype=bool)
    return repeated.assign(outlier=repeated["participant_id"].isin(people) | by_icv)


def measurable(sample: pd.DataFrame, measure: str, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Values of a measure in the groups that have at least two."""
    values = {name: sample.loc[sample["group"] == name, measure].dropna().to_numpy(float) for name in names}
    return {name: v for name, v in values.items() if len(v) >= SMALLEST_GROUP}


def _across(sample: pd.DataFrame, design: Design) -> list[TestResult]:
    """Everything that takes one scan a person."""
    groups, rows = design.groups, []
    for measure in (*TESTED_MEASURES, *_susceptibility(sample)):
        values = measurable(sample, measure, groups.all)
        if len(values) > 2:
            rows += compare_many(values, measure)
        for a, b in groups.pairs:
            if a in values and b in values:
                rows += compare_two(values[a], values[b], measure, (a, b))
                if b == groups.control and measure == NORMALISED:
                    rows += _icv_error(values, (a, b))
    rows += _linear_models(sample, design)
    for name in groups.all:
        both = sample[sample["group"] == name].dropna(subset=list(SIDES))  # there may be no sides
        if len(both) >= SMALLEST_GROUP:
            rows += left_against_right(both[SIDES[0]].to_numpy(float), both[SIDES[1]].to_numpy(float), name)
    return rows + _associations(sample, design) + _worsenings(sample, design)


def _susceptibility(sample: pd.DataFrame) -> list[str]:
    """The measures of susceptibility that there are."""
    return [measure for measure in SUSCEPTIBILITY if measure in sample and sample[measure].notna().any()]


def _icv_error(values: dict[str, np.ndarray], pair: tuple[str, str]) -> list[TestResult]:
    """The comparison of normalised volumes, were the ICV of the first group 5 % off throughout."""
    rows = []
    for error in (MAX_ICV_ERROR, -MAX_ICV_ERROR):
        true = values[pair[0]] * (1 + error)
        way = "large" if error > 0 else "small"
        note = f"if the ICV of {pair[0]} had been measured {100 * abs(error):.0f} % too {way}"
        chosen = next(r for r in compare_two(true, values[pair[1]], NORMALISED, pair) if r.chosen)
        rows.append(replace(chosen, analysis="icv_error", note=note))
    return rows


def _linear_models(sample: pd.DataFrame, design: Design) -> list[TestResult]:
    adjusted = [(NORMALISED, ()), (VOLUME, ()), (RESIDUAL, ()), (ASYMMETRY, ()), (VOLUME, (ICV,)),
                *((side, (ICV,)) for side in SIDES)]  # fmt: skip
    adjusted += [(measure, ()) for measure in _susceptibility(sample)]
    rows = []
    for pair in design.groups.pairs:
        for measure, extra in adjusted:
            if design.covariates or extra:
                rows += ancova(sample, measure, pair, [*design.covariates, *extra])
            if design.site:
                covariates = [c for c in (*design.covariates, *extra) if c != design.site]
                rows += site_model(sample, measure, pair, covariates, design.site)[0]
    return rows


def _associations(sample: pd.DataFrame, design: Design) -> list[TestResult]:
    rows = []
    for group in design.groups.cases:
        for score in design.scores:
            covariates = [c for c in design.covariates if c != score]
            for measure in (NORMALISED, VOLUME):
                if sample.loc[sample["group"] == group, measure].notna().any():
                    rows += associate(sample, measure, score, group, covariates)
            if sample.loc[sample["group"] == group, ICV].notna().any():
                rows += associate(sample, VOLUME, score, group, [*covariates, ICV])
    return rows


def _worsenings(sample: pd.DataFrame, design: Design) -> list[TestResult]:
    """Who has got worse, by the volume and by its change."""
    rows = []
    for group in design.groups.cases if design.worsened else ():
        for measure in (NORMALISED, VOLUME, RATE):
            if sample.loc[sample["group"] == group, measure].notna().any():
                rows += worsening(sample, measure, str(design.worsened), group, design.covariates)
    return rows


def _through_time(repeated: pd.DataFrame, design: Design) -> list[TestResult]:
    if repeated.empty:
        return []
    groups, rows = design.groups, []
    for measure in (NORMALISED, VOLUME, *SIDES, ICV):
        rows += change_over_time(repeated, measure, groups.cases, groups.control, design.covariates)
    return rows + compare_rates(repeated, groups) + trial_sizes(repeated, groups.cases, groups.control)


def harmonise(table: pd.DataFrame, design: Design) -> pd.DataFrame:
    """Take out what each site adds to the normalised volume (to the plain one where no ICV is known).

    The site's part is the random intercept of the mixed model with group and covariates, made from the tested scans of
    the first case group and the controls and applied to all scans of the site: ``harmonised_mm3``.
    """
    if not design.site:
        return table
    pair = design.groups.pairs[0]
    tested = table[table["tested"]]
    measure = NORMALISED if len(measurable(tested, NORMALISED, pair)) == len(pair) else VOLUME
    covariates = [c for c in design.covariates if c != design.site]
    _, offsets = site_model(tested, measure, pair, covariates, design.site)
    return table.assign(**{HARMONISED: table[measure] - table[design.site].map(offsets).astype(float)})


def undone(statistics: pd.DataFrame, table: pd.DataFrame, design: Design) -> list[str]:
    """Analyses that the design asks for and the data do not allow, each in a sentence that says why.

    Parameters
    ----------
    statistics : DataFrame
        As `analyse` gives them.
    table : DataFrame
        All scans.
    design : Design
    """
    rows = statistics[statistics["primary"].astype(bool)]
    out: list[str] = []
    for a, b in design.groups.pairs:
        pair = rows[(rows["group_a"] == a) & (rows["group_b"] == b) & rows["measure"].isin([NORMALISED, VOLUME])]
        done = set(pair["analysis"])
        if "comparison" not in done:
            out.append(f"{a} and {b} are not compared: without outliers a group has fewer than {SMALLEST_GROUP} scans.")
        if design.covariates and not _adjusted(pair, design.covariates):
            out.append(f"{a} and {b} are not compared with {', '.join(design.covariates)} held equal: too few "
                       "participants have all of them, they do not vary, or they separate the groups. Add the missing "
                       "values, or name fewer with --covariates.")  # fmt: skip
        if design.site and "site_mixed_model" not in done:
            out.append(f"{a} and {b} are not compared with {design.site} as random intercept: too few participants "
                       "have a site and all covariates, or there is only one site.")  # fmt: skip
    return [*out, *_unrelated(rows, design), *_unfollowed(rows, table, design), *_not_told(rows, design)]


def _adjusted(pair: pd.DataFrame, covariates: Iterable[str]) -> bool:
    """Whether there is a linear model of the plain or the normalised volume with these covariates: those that vary."""
    adjusted = pair.loc[pair["analysis"] == "ancova", "adjusted_for"].dropna()
    return any(set(text.split("; ")) <= set(covariates) for text in adjusted)


def _unrelated(rows: pd.DataFrame, design: Design) -> list[str]:
    """Scores that could not be correlated with any volume of a group."""
    out = []
    for group in design.groups.cases:
        for score in design.scores:
            found = rows[(rows["analysis"] == "association") & (rows["group_a"] == group) & (rows["term"] == score)]
            if found["estimate"].notna().any():
                continue
            notes = [str(note) for note in found["note"].dropna()]
            out.append(f"{score} is not correlated with the volumes of {group}: {notes[0] if notes else 'no volumes'}.")
    return out


def _not_told(rows: pd.DataFrame, design: Design) -> list[str]:
    """Groups in which worsening could not be related to any volume."""
    out = []
    for group in design.groups.cases if design.worsened else ():
        found = rows[(rows["analysis"] == "worsening") & (rows["group_a"] == group)]
        if not found["estimate"].notna().any():
            notes = [str(note) for note in found["note"].dropna()]
            out.append(f"{design.worsened} is not related to the volumes of {group}: {notes[0] if notes else 'none'}.")
    return out


def _unfollowed(rows: pd.DataFrame, table: pd.DataFrame, design: Design) -> list[str]:
    """Groups with several sessions of a person whose change over time could not be estimated."""
    usable = table[table["not_tested"].isna() | table["not_tested"].isin(FURTHER_SCANS)]
    sessions = usable.groupby("participant_id")["session_id"].transform("nunique")
    several = usable[sessions > 1].groupby("group")["participant_id"].nunique()
    known = choose_repeated(table).groupby("group")["participant_id"].nunique()
    done = set(rows.loc[(rows["analysis"] == "longitudinal") & (rows["term"] == "years"), "group_a"])
    return [
        f"Change over time of {group} is not estimated: {several[group]} participant(s) have several sessions, "
        f"{known.get(group, 0)} of them at known and different times. At least {MIN_PARTICIPANTS} are needed, that are "
        "no outliers and have all covariates."
        for group in design.groups.all
        if several.get(group, 0) and group not in done
    ]

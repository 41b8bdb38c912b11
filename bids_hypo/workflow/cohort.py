"""Who is in a group-level run: scans joined with participants.tsv, sessions.tsv and ratings, and checked."""

from __future__ import annotations

import difflib
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from bids_hypo.bids.columns import fold, fold_categories, numbers_or_words
from bids_hypo.bids.entities import shorten
from bids_hypo.bids.people import kept_spellings, read_levels, read_participants, read_sessions
from bids_hypo.bids.selection import Selection
from bids_hypo.bids.tables import read_ratings, read_volumes
from bids_hypo.bids.tsv import TableError
from bids_hypo.errors import UsageError, comma_hint
from bids_hypo.workflow.session_times import add_years

logger = logging.getLogger(__name__)

DEFAULT_COVARIATES = ("age", "sex", "gender")
CATEGORIES = frozenset({"sex", "gender", "site", "scanner", "hand", "handedness", "center", "centre"})
RESERVED = frozenset({
    "participant_id", "session_id", "run", "scan", "source_file", "report", "left_mm3", "right_mm3", "hypothalamus_mm3",
    "icv_mm3", "hypothalamus_sd_mm3", "icv_sd_mm3", "flags", "manual", "models", "group", "years", "rating",
    "rating_note", "not_tested", "tested", "flagged", "icv_doubtful", "ratio", "normalised_mm3", "residual_mm3",
    "asymmetry_percent", "harmonised_mm3", "outlier", "outlier_of",
})  # fmt: skip


@dataclass(frozen=True)
class GroupOptions:
    """What a group-level run was asked to do.

    Attributes
    ----------
    bids_dir, output_dir : Path
        The dataset with participants.tsv; the derivatives.
    selection : Selection
        Which scans.
    group_column : str
        Column of participants.tsv.
    cases : tuple of str
        Levels of it; empty for all but the control.
    control : str or None
        None looks for a well-known name.
    covariates : tuple of str or None
        None takes age and sex where they are there.
    scores : tuple of str
    site_column : str or None
    ratings : Path or None
        Scans rated bad are left out.
    exclude_flagged, dry_run : bool
    outlier_rule : str
        ``iqr`` or ``none``.
    """

    bids_dir: Path
    output_dir: Path
    selection: Selection = field(default_factory=Selection)
    group_column: str = "group"
    cases: tuple[str, ...] = ()
    control: str | None = None
    covariates: tuple[str, ...] | None = None
    scores: tuple[str, ...] = ()
    site_column: str | None = None
    ratings: Path | None = None
    exclude_flagged: bool = False
    outlier_rule: str = "iqr"
    dry_run: bool = False


@dataclass(frozen=True)
class Cohort:
    """The scans with what is known of their people.

    Attributes
    ----------
    table : DataFrame
        All scans: the columns of `bids_hypo.bids.tables.ScanTables`, group, covariates, scores, site, years, rating,
        rating_note, and not_tested with the reason where one is known already.
    covariates : tuple of str
    problems : tuple of str
        Tables that could not be read.
    remarks : tuple of str
        What a reader of the results has to know.
    """

    table: pd.DataFrame
    covariates: tuple[str, ...]
    problems: tuple[str, ...]
    remarks: tuple[str, ...]


def load_cohort(options: GroupOptions) -> Cohort:
    """Read and join everything.

    Raises
    ------
    NoInputError, TableError, UsageError
        See `bids_hypo.bids.tables`; and for columns that are missing, hold text where numbers are needed, or
        participants that nobody lists.
    """
    participants = read_participants(options.bids_dir)
    scans = read_volumes(options.output_dir, options.selection)
    sessions = read_sessions(options.bids_dir, scans.table["participant_id"])
    source = options.bids_dir / "participants.tsv"
    covariates = _covariates(options, participants)
    site = [options.site_column] if options.site_column else []
    wanted = tuple(dict.fromkeys([*covariates, *options.scores, *site]))
    _check_columns(options, wanted, participants, sessions, source)
    shown = tuple(c for c in DEFAULT_COVARIATES if c in participants and c not in wanted and c != options.group_column)
    levels = read_levels(options.bids_dir)
    participants, folded = _fold_groups(participants, options, levels)
    table = _join(scans.table, participants, sessions, options.group_column, (*wanted, *shown))
    remarks = [*scans.unmatched, *folded, *_unmatched(table, participants, options.selection, source)]
    for name in (*wanted, *shown):
        try:
            table[name], more = _typed(table, name, options, levels)
        except TableError as error:
            if name in wanted:
                raise
            table[name], more = pd.to_numeric(table[name], errors="coerce"), [f"{error} They are not shown."]
        remarks += more
    table, more = add_years(table, options.bids_dir)
    remarks += more
    for column in ("left_mm3", "right_mm3", "hypothalamus_mm3", "icv_mm3", "hypothalamus_sd_mm3", "icv_sd_mm3"):
        table[column] = table[column].astype(float)
    table, more = _rate(table, options.ratings)
    remarks += more
    for name in covariates:
        lacking = int(table.loc[table["not_tested"].isna(), name].isna().sum())
        if lacking:
            remarks.append(f"{lacking} scans have no {name}; models with that covariate leave them out.")
    return Cohort(table.drop(columns=["acq_time", "session_age"]), covariates, scans.problems, tuple(remarks))


def _covariates(options: GroupOptions, participants: pd.DataFrame) -> tuple[str, ...]:
    if options.covariates is not None:
        return tuple(dict.fromkeys(options.covariates))
    found = [name for name in DEFAULT_COVARIATES if name in participants and name != options.group_column]
    return tuple(name for name in found if name not in (*options.scores, options.site_column))


def _check_columns(
    options: GroupOptions, wanted: Iterable[str], participants: pd.DataFrame, sessions: pd.DataFrame, source: Path
) -> None:
    there = list(participants.columns)
    if options.group_column not in there:
        near = difflib.get_close_matches(options.group_column, there, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise TableError(
            f"{source}: no column '{options.group_column}' for the groups; name another with --group-column. "
            f"There are: {', '.join(there)}.{hint}"
        )
    lacking = [name for name in wanted if name not in there and name not in sessions]
    if lacking:
        both = list(dict.fromkeys([*there, *sessions.columns]))
        columns, hint = ", ".join(lacking), comma_hint(lacking)
        raise TableError(f"{source}: no column {columns} there or in sessions.tsv. There are: {', '.join(both)}.{hint}")
    clash = sorted(RESERVED.intersection(wanted))
    if clash:
        raise UsageError(f"column {', '.join(clash)}: group_volumes.tsv has one of that name. Rename it in {source}.")


def _fold_groups(
    participants: pd.DataFrame, options: GroupOptions, levels: Mapping[str, frozenset[str]]
) -> tuple[pd.DataFrame, list[str]]:
    """One spelling for each group: those of the command line and the levels of participants.json stay as they are."""
    name = options.group_column
    asked = (*options.cases, *([options.control] if options.control else []))
    groups, remark = _folded(participants, name, {*asked, *kept_spellings(levels.get(name, ()))})
    return participants.assign(**{name: groups}), [remark] if remark else []


def _join(
    scans: pd.DataFrame, participants: pd.DataFrame, sessions: pd.DataFrame, group_column: str, wanted: Iterable[str]
) -> pd.DataFrame:
    """Add group and columns of participants.tsv; what sessions.tsv says about a session comes first."""
    wanted = list(wanted)
    keys = ["participant_id", *(["session_id"] if "session_id" in participants else [])]
    known = participants.assign(group=participants[group_column], listed=True)
    known = known[list(dict.fromkeys([*keys, "group", "listed", *(c for c in wanted if c in participants)]))]
    table = scans.merge(known, on=keys, how="left")
    extra = [c for c in ("acq_time", "age", *wanted) if c in sessions]
    by_session = scans[["participant_id", "session_id"]].merge(
        sessions[list(dict.fromkeys(["participant_id", "session_id", *extra]))], on=["participant_id", "session_id"],
        how="left",
    )  # fmt: skip
    by_session.index = table.index
    for name in wanted:
        if name in by_session:
            table[name] = by_session[name].where(by_session[name].notna(), table.get(name))
    table["acq_time"] = by_session.get("acq_time")
    session_age = table.get("age") if "session_id" in participants else None
    table["session_age"] = by_session.get("age", session_age)
    listed = table.pop("listed").notna()
    reason = pd.Series(None, index=table.index, dtype=object)
    reason[table["group"].isna()] = "no group in participants.tsv"
    reason[~listed] = "not in participants.tsv"
    return table.assign(not_tested=reason)


def _unmatched(table: pd.DataFrame, participants: pd.DataFrame, selection: Selection, source: Path) -> list[str]:
    """Who is in only one of the two places."""
    with_scan, listed = set(table["participant_id"]), set(participants["participant_id"])
    if not with_scan & listed:
        raise TableError(
            f"{source}: lists none of the participants with results. Listed: {shorten(listed, at_most=5)}; "
            f"with results: {shorten(with_scan, at_most=5)}. Is it the participants.tsv of this dataset?"
        )
    remarks = []
    unlisted = sorted(with_scan - listed)
    without = sorted(p for p in listed - with_scan if selection.accepts_subject(p.removeprefix("sub-")))
    if unlisted:
        remarks.append(f"{len(unlisted)} participants with results are not in participants.tsv and take no part in any "
                       f"test: {shorten(unlisted)}.")  # fmt: skip
    if without:
        remarks.append(f"{len(without)} participants of participants.tsv have no results: {shorten(without)}.")
    ungrouped = sorted(set(table.loc[table["not_tested"] == "no group in participants.tsv", "participant_id"]))
    if ungrouped:
        remarks.append(f"{len(ungrouped)} participants have no group and are not tested: {shorten(ungrouped)}.")
    return remarks


def _typed(
    table: pd.DataFrame, name: str, options: GroupOptions, levels: Mapping[str, frozenset[str]]
) -> tuple[pd.Series, list[str]]:
    """A column as numbers or as categories in one spelling, and what was done to it."""
    must = name == "age" or name in options.scores
    if must or (fold(name) not in CATEGORIES and name not in levels and name != options.site_column):
        column, remark = numbers_or_words(table[name], name, options.bids_dir / "participants.tsv", must=must)
        if pd.api.types.is_numeric_dtype(column):
            return column, [remark] if remark else []
        folded, more = _folded(table.assign(**{name: column}), name, frozenset())
        return folded, [text for text in (remark, more) if text]
    folded, remark = _folded(table, name, kept_spellings(levels.get(name, ())))
    return folded, [remark] if remark else []


def _folded(table: pd.DataFrame, name: str, keep: Collection[str]) -> tuple[pd.Series, str]:
    """A column with one spelling for each category, and what became of the others, counted in participants."""
    known = table[[name, "participant_id"]].dropna()
    folding = fold_categories(known[name], name, keep)
    people = Counter(known.drop_duplicates()[name])
    return folding.apply(table[name]), folding.remark(name, people, "participants")


def _rate(table: pd.DataFrame, path: Path | None) -> tuple[pd.DataFrame, list[str]]:
    """Add the ratings; scans rated bad are not tested."""
    table = table.assign(rating=None, rating_note=None)
    if path is None:
        return table, []
    ratings = read_ratings(path).set_index("source_file")
    table["rating"] = table["source_file"].map(ratings["rating"])
    table["rating_note"] = table["source_file"].map(ratings["note"])
    bad = table["rating"] == "bad"
    table.loc[bad & table["not_tested"].isna(), "not_tested"] = "rated bad"
    remarks = []
    unknown = set(ratings.index) - set(table["source_file"])
    if unknown:
        remarks.append(f"{len(unknown)} ratings belong to no scan with results: {shorten(unknown, at_most=5)}.")
    unrated = int(table["rating"].isna().sum())
    if unrated:
        remarks.append(f"{unrated} of {len(table)} scans have no rating; they are used.")
    return table, remarks

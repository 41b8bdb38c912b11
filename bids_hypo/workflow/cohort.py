"""Who is in a group-level run: scans joined with participants.tsv, sessions.tsv and ratings, and checked."""

from __future__ import annotations

import difflib
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bids_hypo.bids.columns import category_key, fold, fold_categories, numbers_or_words, yes_or_no
from bids_hypo.bids.ensembles import ENSEMBLE
from bids_hypo.bids.entities import image_name, shorten
from bids_hypo.bids.morph import SUSCEPTIBILITY_COLUMNS
from bids_hypo.bids.people import kept_spellings, read_levels, read_participants, read_sessions, usual_names
from bids_hypo.bids.plausible import check_numbers, is_age_column
from bids_hypo.bids.ratings import BAD, read_ratings
from bids_hypo.bids.selection import Selection
from bids_hypo.bids.tables import read_volumes
from bids_hypo.bids.tsv import TableError, brief
from bids_hypo.errors import UsageError, comma_hint
from bids_hypo.workflow.group_options import GroupOptions, chosen_volumes
from bids_hypo.workflow.joining import SESSIONS, join_people
from bids_hypo.workflow.session_times import add_years

logger = logging.getLogger(__name__)

DEFAULT_COVARIATES = ("age", "sex", "gender")
CATEGORIES = frozenset({"sex", "gender", "site", "scanner", "hand", "handedness", "center", "centre"})
RESERVED = frozenset({
    "participant_id", "session_id", "run", "scan", "image", "source_file", "sources", "report", "structure", "title",
    "part", "left_mm3", "right_mm3", "volume_mm3", "icv_mm3", "volume_sd_mm3", "icv_sd_mm3", "icv_source", "flags",
    "manual", "models", "group", "years", "rating", "rating_note", "not_tested", "tested", "flagged", "icv_doubtful",
    "ratio", "normalised_mm3", "residual_mm3", "asymmetry_percent", "harmonised_mm3", "outlier", "outlier_of",
    "change_percent_per_year",
    *SUSCEPTIBILITY_COLUMNS,
})  # fmt: skip
_NUMBERS = ("left_mm3", "right_mm3", "volume_mm3", "volume_sd_mm3", "icv_mm3", "icv_sd_mm3")
# Columns that belong to a structure or part, not to the scan alone.
_OF_SERIES = ("structure", "title", "part", *_NUMBERS, "icv_source", "flags", "manual", "models",
              *SUSCEPTIBILITY_COLUMNS)  # fmt: skip


@dataclass(frozen=True)
class Cohort:
    """The scans with what is known of their people.

    Attributes
    ----------
    table : DataFrame
        One row for each scan, structure and part: the columns of `bids_hypo.bids.tables.ScanTables`, group,
        covariates, scores, site, years, rating,
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
    ratings = read_ratings(options.ratings) if options.ratings else None
    bad = () if ratings is None else ratings.loc[ratings["rating"] == BAD, "image"]
    scans = read_volumes(options.output_dir, options.selection, frozenset(bad),
                         ensembles=ENSEMBLE in map(str.lower, options.images))  # fmt: skip
    volumes = chosen_volumes(scans.table, options)
    of_series = [name for name in _OF_SERIES if name in volumes]
    each = volumes.drop_duplicates("scan").drop(columns=of_series)
    asked = {options.group_column, *(options.covariates or ()), *options.scores, options.site_column or "",
             options.worsened or ""}  # fmt: skip
    participants, named = usual_names(read_participants(options.bids_dir), "participants.tsv", asked)
    sessions = read_sessions(options.bids_dir, each["participant_id"])
    sessions, more = usual_names(sessions, SESSIONS, asked)
    named += more
    source = options.bids_dir / "participants.tsv"
    covariates = _covariates(options, participants)
    site = [options.site_column] if options.site_column else []
    worsened = [options.worsened] if options.worsened else []
    wanted = tuple(dict.fromkeys([*covariates, *options.scores, *site, *worsened]))
    _check_columns(options, wanted, participants, sessions, source)
    shown = tuple(c for c in DEFAULT_COVARIATES if c in participants and c not in wanted and c != options.group_column)
    levels = read_levels(options.bids_dir)
    participants, folded = _fold_groups(participants, options, levels)
    participants = participants.assign(group=participants[options.group_column])
    joined = join_people(each, participants, sessions, (*wanted, *shown), options.selection, source)
    table, remarks = joined.table, [*scans.unmatched, *named, *folded, *joined.remarks]
    for name in (*wanted, *shown):
        try:
            table[name], more = _typed(table, name, options, levels, joined.origin[name])
        except TableError as error:
            if name in wanted:
                raise
            table[name], more = pd.to_numeric(table[name], errors="coerce"), [f"{error} They are not shown."]
        remarks += more
    table, more = add_years(table, options.bids_dir)
    remarks += more
    table, more = _rate(table, ratings, options)
    remarks += more
    for name in covariates:
        lacking = int(table.loc[table["not_tested"].isna(), name].isna().sum())
        if lacking:
            remarks.append(f"{lacking} scans have no {name}; models with that covariate leave them out.")
    table = table.drop(columns=["acq_time", "session_age"]).merge(volumes[["scan", *of_series]], on="scan")
    table = table.astype(dict.fromkeys(_NUMBERS, float))
    return Cohort(table, covariates, scans.problems, tuple(remarks))


def usual_covariates(names: Iterable[str]) -> list[str]:
    """The columns that are held equal unless told otherwise: age, sex and gender, in capital letters or small."""
    found = [name for name in names if fold(name) in DEFAULT_COVARIATES]
    return sorted(found, key=lambda name: DEFAULT_COVARIATES.index(fold(name)))


def _covariates(options: GroupOptions, participants: pd.DataFrame) -> tuple[str, ...]:
    if options.covariates is not None:
        return tuple(dict.fromkeys(options.covariates))
    others = (options.group_column, *options.scores, options.site_column, options.worsened)
    return tuple(name for name in DEFAULT_COVARIATES if name in participants and name not in others)


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
        both = list(dict.fromkeys([*there, *(sessions.columns if len(sessions) else ())]))
        columns, hint = ", ".join(lacking), comma_hint(lacking)
        where = f"there or in {SESSIONS}" if len(sessions) else "there"
        raise TableError(f"{source}: no column {columns} {where}. There are: {', '.join(both)}.{hint}")
    clash = sorted(RESERVED.intersection(wanted))
    if clash:
        raise UsageError(f"column {', '.join(clash)}: group_volumes.tsv has one of that name. Rename it in {source}.")


def _fold_groups(
    participants: pd.DataFrame, options: GroupOptions, levels: Mapping[str, frozenset[str]]
) -> tuple[pd.DataFrame, list[str]]:
    """One spelling for each group: those of the command line and the levels of participants.json stay as they are."""
    name = options.group_column
    asked = (*options.cases, *([options.control] if options.control else []))
    groups, remarks = _folded(participants, name, levels.get(name, frozenset()), asked)
    return participants.assign(**{name: groups}), remarks


def _typed(
    table: pd.DataFrame, name: str, options: GroupOptions, levels: Mapping[str, frozenset[str]], origin: pd.Series
) -> tuple[pd.Series, list[str]]:
    """A column as numbers or as categories in one spelling, and what was done to it."""
    if name == options.worsened:
        return yes_or_no(table[name], name, origin), []
    must = is_age_column(name) or name in options.scores
    if not must and (fold(name) in CATEGORIES or name in levels or name == options.site_column):
        return _folded(table, name, levels.get(name, frozenset()))
    column, remark = numbers_or_words(table[name], name, origin, must=must)
    if not pd.api.types.is_numeric_dtype(column):
        column, more = _folded(table.assign(**{name: column}), name, frozenset())
        return column, [text for text in (remark, *more) if text]
    column, more = check_numbers(column, table["participant_id"], name, origin)
    return column, [text for text in (remark, *more) if text]


def _folded(
    table: pd.DataFrame, name: str, levels: Collection[str], asked: Collection[str] = ()
) -> tuple[pd.Series, list[str]]:
    """A column with one spelling for each category, and what became of the others, counted in participants."""
    known = table[[name, "participant_id"]].dropna().drop_duplicates()
    folding = fold_categories(table[name].dropna(), name, {*asked, *kept_spellings(levels)})
    people = Counter(known[name])
    keys = {category_key(level, name) for level in levels}
    others = [t for t in people if folding.became.get(t, t) is not None and category_key(t, name) not in keys]
    strange = [f"'{brief(text)}' ({people[text]} participants)" for text in others if keys]
    remarks = [folding.remark(name, people, "participants")]
    if strange:
        remarks.append(f"Column {name}: {shorten(strange)} is none of the Levels that participants.json gives.")
    return folding.apply(table[name]), [text for text in remarks if text]


def _rate(table: pd.DataFrame, ratings: pd.DataFrame | None, options: GroupOptions) -> tuple[pd.DataFrame, list[str]]:
    """Add the ratings; scans rated bad are not tested."""
    table = table.assign(rating=None, rating_note=None)
    if ratings is None:
        return table, []
    ratings = ratings.set_index("image")
    images = table["source_file"].map(image_name)
    unknown = ratings.loc[~ratings.index.isin(images), "source_file"]
    told = f"{len(unknown)} ratings belong to no scan with results: {shorten(unknown, at_most=5)}."
    if len(ratings) and len(unknown) == len(ratings) and options.selection == Selection() and not options.structures:
        expected = table["source_file"].iloc[0]
        raise TableError(f"{options.ratings}: none of its ratings counts: {told} Expected images such as {expected}.")
    table["rating"] = images.map(ratings["rating"])
    table["rating_note"] = images.map(ratings["note"])
    of_images = dict(zip(ratings.index, ratings["rating"], strict=True))
    bad = pd.Series(
        [any(of_images.get(image_name(one)) == BAD for one in several) for several in table["sources"]], table.index
    )
    table.loc[bad & table["not_tested"].isna(), "not_tested"] = "rated bad"
    remarks = [told] if len(unknown) else []
    unrated = int(table["rating"].isna().sum())
    if unrated:
        remarks.append(f"{unrated} of {len(table)} scans have no rating; they are used.")
    return table, remarks

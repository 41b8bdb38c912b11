"""Tables of clinical scores: participants.tsv, sessions.tsv and their like."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from bids_hypo.bids.columns import fold_categories, is_missing, numbers_or_words
from bids_hypo.bids.entities import shorten
from bids_hypo.bids.plausible import check_numbers, is_age_column
from bids_hypo.bids.times import EXPECTED_TIME, days_of
from bids_hypo.bids.tsv import TableError, check_named, read_table
from bids_hypo.errors import NoInputError, UsageError, comma_hint

_log = logging.getLogger(__name__)

SUBJECT_COLUMN, SESSION_COLUMN, TIME_COLUMN = "participant_id", "session_id", "acq_time"
_KEYS = (SUBJECT_COLUMN, SESSION_COLUMN, TIME_COLUMN)


@dataclass(frozen=True)
class Scores:
    """Numbers known about each person or session.

    Attributes
    ----------
    table : DataFrame
        Columns ``sub``, ``ses`` (labels without prefix; ``ses`` only if the table has sessions), then the scores and
        the covariates.
    names : tuple of str
        The scores.
    left_out : tuple of str
        Columns that are no numbers.
    days : dict of (str, str) to float
        Time of a session (column acq_time) by subject and session, where it is known.
    """

    table: pd.DataFrame
    names: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    days: dict[tuple[str, str], float] = field(default_factory=dict)

    @property
    def has_sessions(self) -> bool:
        """Whether there is a row a session."""
        return "ses" in self.table


def read_scores(path: str | Path, names: Sequence[str] | None = None, covariates: Sequence[str] = ()) -> Scores:
    """Read a table with ``participant_id``, optionally ``session_id``, and scores.

    Parameters
    ----------
    path : path-like
        Read with `bids_hypo.bids.tsv.read_table`.
    names : sequence of str, optional
        The scores; all columns of numbers unless told.
    covariates : sequence of str
        Columns that are kept but are no scores; they may hold words.

    Returns
    -------
    Scores

    Raises
    ------
    NoInputError
        If there is no such file.
    TableError
        If it cannot be read, or a column that has to hold numbers does not.
    UsageError
        If columns are missing or hold nothing, or a person or session comes twice.
    """
    path = Path(path)
    if not path.is_file():
        raise NoInputError(
            f"{path}: there is no such file; expected a table whose columns are separated by tabs. Check the path."
        )
    table = read_table(path)
    if SUBJECT_COLUMN not in table:
        raise UsageError(f"{path}: found the columns {_listed(table)}; expected {SUBJECT_COLUMN}, and tabs between.")
    check_named(table, SUBJECT_COLUMN, path)
    keys = {"sub": table[SUBJECT_COLUMN].str.removeprefix("sub-")}
    if SESSION_COLUMN in table:
        keys["ses"] = table[SESSION_COLUMN].fillna("").str.removeprefix("ses-")
    missing = [name for name in (*(names or ()), *covariates) if name not in table]
    if missing:
        hint = comma_hint(missing)
        raise UsageError(f"{path}: there is no column {', '.join(missing)}; there are {_listed(table)}.{hint}")
    frame = pd.DataFrame(keys)
    repeated = frame[frame.duplicated()]
    if len(repeated):
        raise UsageError(f"{path}: {shorten(repeated['sub'])} come(s) twice; expected one row a person (or session).")
    others = [str(c) for c in table if c not in (*_KEYS, *covariates)]
    people = table[SUBJECT_COLUMN]
    numbers = {c: _numbers(table[c], people, path, must=names is not None) for c in names or others}
    kept = {c: column for c, column in numbers.items() if column is not None and column.notna().any()}
    bad = tuple(c for c in numbers if c not in kept)
    if names is not None and bad:
        raise UsageError(f"{path}: the column {bad[0]} does not hold numbers; expected numbers, n/a where missing.")
    if not kept:
        raise UsageError(f"{path}: no column of scores; found the columns {_listed(table)}.")
    frame = frame.assign(**kept, **{c: _covariate(table[c], people, path) for c in covariates})
    return Scores(frame, tuple(kept), bad, _days(frame, table, path))


def _days(frame: pd.DataFrame, table: pd.DataFrame, path: Path) -> dict[tuple[str, str], float]:
    """Times of sessions by subject and session; those that cannot be read are told."""
    if "ses" not in frame or TIME_COLUMN not in table:
        return {}
    days = {(s, e): days_of(t) for s, e, t in zip(*(frame[k] for k in ("sub", "ses")), table[TIME_COLUMN], strict=True)
            if not is_missing(t)}  # fmt: skip
    bad = [f"sub-{sub} ses-{ses}" for (sub, ses), day in days.items() if day is None]
    if bad:
        _log.warning("%s: %d times (%s) cannot be read and are not used: %s. %s",
                     path, len(bad), TIME_COLUMN, shorten(bad), EXPECTED_TIME)  # fmt: skip
    return {key: day for key, day in days.items() if day is not None}


def _numbers(column: pd.Series, people: pd.Series, path: Path, *, must: bool) -> pd.Series | None:
    """A column as numbers; None if it holds none, which is told if it seems to."""
    name = str(column.name)
    try:
        found, told = numbers_or_words(column, name, path, must=must)
    except TableError as error:
        if must:
            raise
        _log.warning("%s It is left out.", error)
        return None
    remarks = [told]
    numeric = pd.api.types.is_numeric_dtype(found)
    if numeric:
        found, more = check_numbers(found, people, name, [str(path)] * len(found))
        remarks += more
    _tell(path, remarks)
    return found if numeric else None


def _covariate(column: pd.Series, people: pd.Series, path: Path) -> pd.Series:
    """A column as numbers, or as categories in one spelling."""
    name = str(column.name)
    found, told = numbers_or_words(column, name, path, must=is_age_column(name))
    if pd.api.types.is_numeric_dtype(found):
        found, more = check_numbers(found, people, name, [str(path)] * len(found))
    else:
        folding = fold_categories(found.dropna(), name)
        more = [folding.remark(name, Counter(found.dropna()), "rows")]
        found = folding.apply(found)
    _tell(path, [told, *more])
    return found


def _tell(path: Path, remarks: Sequence[str]) -> None:
    for text in remarks:
        if text:
            _log.warning("%s: %s", path, text)


def _listed(table: pd.DataFrame) -> str:
    return shorten((str(c) for c in table), at_most=20)

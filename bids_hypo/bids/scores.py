"""Tables of clinical scores: participants.tsv, sessions.tsv and their like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bids_hypo.bids.entities import shorten
from bids_hypo.errors import NoInputError, UsageError, comma_hint

SUBJECT_COLUMN, SESSION_COLUMN = "participant_id", "session_id"
_MISSING = ["n/a", "", "N/A", "NA", "nan", "NaN"]


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
    """

    table: pd.DataFrame
    names: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    @property
    def has_sessions(self) -> bool:
        """Whether there is a row a session."""
        return "ses" in self.table


def read_scores(path: str | Path, names: Sequence[str] | None = None, covariates: Sequence[str] = ()) -> Scores:
    """Read a table with ``participant_id``, optionally ``session_id``, and scores.

    Parameters
    ----------
    path : path-like
        Tab-separated; ``n/a`` and empty for missing values.
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
        If the file cannot be read.
    UsageError
        If columns are missing or hold no numbers, or a person or session comes twice.
    """
    path = Path(path)
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, na_values=_MISSING)
    except (OSError, ValueError) as error:
        raise NoInputError(f"{path}: cannot be read as a tab-separated table ({error}). Check the path.") from error
    if SUBJECT_COLUMN not in table:
        raise UsageError(f"{path}: found the columns {_listed(table)}; expected {SUBJECT_COLUMN}, tabs between.")
    keys = {"sub": table[SUBJECT_COLUMN].str.removeprefix("sub-")}
    if SESSION_COLUMN in table:
        keys["ses"] = table[SESSION_COLUMN].str.removeprefix("ses-")
    missing = [name for name in (*(names or ()), *covariates) if name not in table]
    if missing:
        hint = comma_hint(missing)
        raise UsageError(f"{path}: there is no column {', '.join(missing)}; there are {_listed(table)}.{hint}")
    frame = pd.DataFrame(keys)
    repeated = frame[frame.duplicated()]
    if len(repeated):
        raise UsageError(f"{path}: {shorten(repeated['sub'])} come(s) twice; expected one row a person (or session).")
    others = [str(c) for c in table if c not in (SUBJECT_COLUMN, SESSION_COLUMN, *covariates)]
    numbers = {c: pd.to_numeric(table[c], errors="coerce") for c in names or others}
    bad = [c for c, n in numbers.items() if (n.isna() & table[c].notna()).any() or n.notna().sum() == 0]
    if names is not None and bad:
        raise UsageError(f"{path}: the column {bad[0]} does not hold numbers; expected numbers, n/a where missing.")
    kept = {c: n for c, n in numbers.items() if c not in bad}
    if not kept:
        raise UsageError(f"{path}: no column of scores; found the columns {_listed(table)}.")
    frame = frame.assign(**kept, **{c: _numbers_or_words(table[c]) for c in covariates})
    return Scores(frame, tuple(kept), tuple(bad))


def _numbers_or_words(column: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    return column if (numbers.isna() & column.notna()).any() else numbers


def _listed(table: pd.DataFrame) -> str:
    return shorten((str(c) for c in table), at_most=20)

"""Who is in a study: participants.tsv with its dictionary, and sessions.tsv."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from pathlib import Path

import pandas as pd

from bids_hypo.bids.columns import fold, fold_categories
from bids_hypo.bids.entities import shorten
from bids_hypo.bids.tsv import TableError, check_named, read_table
from bids_hypo.errors import NoInputError
from bids_hypo.files import read_json

USUAL_NAMES = ("age", "sex", "gender", "acq_time")
_log = logging.getLogger(__name__)


def read_participants(bids_dir: Path) -> pd.DataFrame:
    """Read participants.tsv.

    Parameters
    ----------
    bids_dir : Path

    Returns
    -------
    DataFrame
        All columns as text, missing values as None. participant_id (with ``sub-``) is there; if there is a
        session_id too, a row stands for a session of a participant; one that is missing in all rows is dropped. Labels
        are taken as they are.

    Raises
    ------
    NoInputError
        If the dataset or the file does not exist.
    TableError
        If the file is broken, a row names nobody, or a participant (and session) is listed twice.
    """
    path = bids_dir / "participants.tsv"
    if not path.is_file():
        raise NoInputError(
            f"{path}: there is no such file; the group level takes groups and covariates from it. "
            "Make one with the columns participant_id, group, age, sex."
        )
    table = read_table(path, ("participant_id",))
    check_named(table, "participant_id", path)
    table["participant_id"] = ["sub-" + text.removeprefix("sub-") for text in table["participant_id"]]
    if "session_id" in table:
        table["session_id"] = _session_ids(table["session_id"])
        if table["session_id"].isna().all():
            table = table.drop(columns="session_id")
    keys = [name for name in ("participant_id", "session_id") if name in table]
    twice = table[table.duplicated(keys, keep=False)]
    if len(twice):
        names = shorten({" ".join(str(v) for v in row) for row in twice[keys].itertuples(index=False)})
        raise TableError(f"{path}: more than one row for {names}; expected one each. Remove the surplus rows.")
    return table


def read_sessions(bids_dir: Path, participants: Iterable[str]) -> pd.DataFrame:
    """Read the sessions.tsv of the participants that have one.

    Parameters
    ----------
    bids_dir : Path
    participants : iterable of str
        With ``sub-``.

    Returns
    -------
    DataFrame
        participant_id, session_id and whatever the files have, as text; empty if there is none.

    Raises
    ------
    TableError
        If one is broken, names no session in a row, or lists one twice.
    """
    tables = []
    for label in sorted(set(participants)):
        path = bids_dir / label / f"{label}_sessions.tsv"
        if not path.is_file():
            continue
        table = read_table(path, ("session_id",))
        check_named(table, "session_id", path)
        table["session_id"] = _session_ids(table["session_id"])
        if table["session_id"].duplicated().any():
            raise TableError(f"{path}: a session is listed twice; expected one row each. Remove the surplus rows.")
        table["participant_id"] = label
        tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["participant_id", "session_id"])


def usual_names(table: pd.DataFrame, file: str, keep: Collection[str]) -> tuple[pd.DataFrame, list[str]]:
    """Give columns that are called `Age`, `SEX` or `Acq_Time` the names that are looked for.

    Parameters
    ----------
    table : DataFrame
    file : str
        Named in the remarks.
    keep : collection of str
        Columns that stay as they are: those that were asked for by name.

    Returns
    -------
    table : DataFrame
    remarks : list of str
        Which column was taken for what.
    """
    remarks = []
    for name in [str(c) for c in table if c not in USUAL_NAMES and c not in keep and fold(str(c)) in USUAL_NAMES]:
        usual = fold(name)
        values = table[name] if usual not in table else table[usual].where(table[usual].notna(), table[name])
        if usual in table and (table[usual].notna() & table[name].notna()).any():
            continue  # two columns of one table that say different things
        table = table.drop(columns=[name]).assign(**{usual: values})
        remarks.append(f"Column {name} of {file} is taken as {usual}.")
    return table, remarks


def _session_ids(column: pd.Series) -> list[str | None]:
    return [None if pd.isna(text) else "ses-" + str(text).removeprefix("ses-") for text in column]


def read_levels(bids_dir: Path) -> dict[str, frozenset[str]]:
    """Levels of the columns that participants.json describes with such.

    They are categories, even if they are written as numbers.
    """
    path = bids_dir / "participants.json"
    if not path.is_file():
        return {}
    try:
        content = read_json(path)
        found = {name: x["Levels"] for name, x in content.items() if isinstance(x, dict) and "Levels" in x}
    except (OSError, ValueError, AttributeError) as error:
        _log.warning("%s: not used, it cannot be read (%s).", path, error)
        return {}
    return {name: frozenset(map(str, x)) if isinstance(x, dict | list) else frozenset() for name, x in found.items()}


def kept_spellings(levels: Iterable[str]) -> frozenset[str]:
    """Levels that are kept as they are written; ``unknown`` says that a value is missing, even as a level."""
    return frozenset(level for level in levels if fold(level) != "unknown")


def group_names(path: Path, column: str) -> list[str]:
    """The groups that a column of participants.tsv names, in alphabetical order and each in one spelling."""
    found = read_table(path, (column,))[column].dropna()
    return sorted(fold_categories(found, column).apply(found).dropna().unique())

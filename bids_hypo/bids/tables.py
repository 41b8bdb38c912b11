"""Tables of a study: the volumes of a derivative dataset, participants.tsv, sessions.tsv, ratings."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bids_hypo.bids.checksums import table_flags
from bids_hypo.bids.entities import Scan, shorten, split_name
from bids_hypo.bids.names import RAW_LINK, TABLE_DESC, output_names, sidecar
from bids_hypo.bids.selection import Selection
from bids_hypo.errors import BidsHypoError, ExitCode, NoInputError, NothingSelectedError

_log = logging.getLogger(__name__)

GROUP_VOLUMES = "group_volumes.tsv"
GROUP_STATISTICS = "group_statistics.tsv"
GROUP_REPORT = "group_report.html"
GROUP_FIGURES = "figures"
MISSING = ("", "n/a", "N/A", "nan", "NaN")
RATINGS = ("good", "doubtful", "bad")
_RATING_COLUMNS = ("source_file", "rating", "note")
_VOLUMES = {
    ("hypothalamus", "L"): "left_mm3",
    ("hypothalamus", "R"): "right_mm3",
    ("hypothalamus", "B"): "hypothalamus_mm3",
    ("ICV", "B"): "icv_mm3",
}


class TableError(BidsHypoError):
    """A table is there, but what it holds cannot be used."""

    exit_code = ExitCode.BAD_DATA


@dataclass(frozen=True)
class ScanTables:
    """The volumes of all scans of a derivative dataset.

    Attributes
    ----------
    table : DataFrame
        One row a scan: participant_id, session_id, run (None where the name has none), scan, source_file,
        report (address relative to the dataset, None if there is none), left_mm3, right_mm3, hypothalamus_mm3,
        icv_mm3, hypothalamus_sd_mm3, icv_sd_mm3, flags (tuple of str), manual, models.
    problems : tuple of str
        One for each table that had to be left out.
    """

    table: pd.DataFrame
    problems: tuple[str, ...]


def read_volumes(derivatives: Path, selection: Selection) -> ScanTables:
    """Collect the volumes of a derivative dataset.

    Parameters
    ----------
    derivatives : Path
    selection : Selection
        Which scans.

    Raises
    ------
    NoInputError
        If there is no table of volumes.
    NothingSelectedError
        If the selection leaves none.
    TableError
        If none can be used.
    """
    advice = "Run the participant level first, with the same OUTPUT_DIR."
    if not derivatives.is_dir():
        raise NoInputError(f"{derivatives}: expected a folder with results, but there is none. {advice}")
    name = f"anat/*_desc-{TABLE_DESC}_morph.tsv"
    paths = sorted([*derivatives.glob(f"sub-*/{name}"), *derivatives.glob(f"sub-*/ses-*/{name}")])
    if not paths:
        raise NoInputError(f"{derivatives}: found no table of volumes (sub-*/[ses-*/]{name}). {advice}")
    rows, problems, selected = [], [], 0
    for path in paths:
        try:
            scan = _source_scan(path, derivatives)
            if not (selection.accepts_subject(scan.subject) and selection.accepts(scan)):
                continue
            selected += 1
            rows.append(_read_scan(path, scan, derivatives))
        except (OSError, ValueError, KeyError, TypeError) as error:
            problems.append(f"{path}: left out, {_text(error)}")
    if not selected and not problems:
        found = shorten({p.relative_to(derivatives).parts[0] for p in paths})
        raise NothingSelectedError(f"{derivatives}: no scan passes the filters. There are {found}.")
    if not rows:
        raise TableError(f"{derivatives}: none of {len(paths)} tables of volumes can be used. First: {problems[0]}")
    return ScanTables(pd.DataFrame(rows), tuple(problems))


def _text(error: Exception) -> str:
    return f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)


def _source_scan(path: Path, derivatives: Path) -> Scan:
    entities, _, _ = split_name(path.name)
    del entities["desc"]
    return Scan(path=path, entities=entities, suffix="T1w", dataset_root=derivatives)


def _read_scan(path: Path, scan: Scan, derivatives: Path) -> dict[str, Any]:
    try:
        about = json.loads(sidecar(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise ValueError(f"its {sidecar(path).name} is missing, so the scan was not finished") from error
    raw = f"bids:{RAW_LINK}:"
    sources = [text for text in about["Sources"] if str(text).startswith(raw)]
    if not sources:
        raise ValueError(f"its {sidecar(path).name} names no source that begins with {raw}")
    report = output_names(scan, derivatives).report
    volumes = _read_morph(path)
    volumes["flags"] += table_flags(path, about)
    models = (f"{model['Name']} {model['Version']}" for model in about.get("Models", {}).values())
    row = {
        "participant_id": f"sub-{scan.subject}",
        "session_id": None if scan.session is None else f"ses-{scan.session}",
        "run": scan.entities.get("run"),
        "scan": scan.name,
        "source_file": sources[0].removeprefix(raw),
        "report": report.name if report.is_file() else None,
        **volumes,
        "manual": bool(about.get("Manual", False)),
        "models": "; ".join([*models, *(["fast"] if about.get("Settings", {}).get("Fast") else [])]),
    }
    return row


def _read_morph(path: Path) -> dict[str, Any]:
    """Volumes, their SD and all flags of one table of volumes."""
    values: dict[str, Any] = dict.fromkeys(_VOLUMES.values())
    flags: list[str] = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        for line in csv.DictReader(file, delimiter="\t"):
            column = _VOLUMES.get((line["structure"], line["hemisphere"]))
            if column is None:
                continue
            values[column] = _positive(line["volume_mm3"], f"volume of {line['structure']} {line['hemisphere']}")
            if line["hemisphere"] == "B":
                values[column.replace("_mm3", "_sd_mm3")] = _number(line.get("volume_sd_mm3"))
            text = line.get("flags")
            flags += [f for f in ("" if text in (None, *MISSING) else str(text)).split(";") if f and f not in flags]
    lacking = [name for name in _VOLUMES.values() if values[name] is None and name != "icv_mm3"]
    if lacking:
        raise ValueError(f"it gives no {', '.join(lacking)}")
    return {"hypothalamus_sd_mm3": None, "icv_sd_mm3": None, **values, "flags": tuple(flags)}


def _number(text: str | None) -> float | None:
    return None if text is None or text.strip() in MISSING else float(text)


def _positive(text: str | None, what: str) -> float | None:
    value = _number(text)
    if value is not None and not 0 < value < float("inf"):
        raise ValueError(f"{what} is {text}; expected a number above 0")
    return value


def read_participants(bids_dir: Path) -> pd.DataFrame:
    """Read participants.tsv.

    Parameters
    ----------
    bids_dir : Path

    Returns
    -------
    DataFrame
        All columns as text, missing values as None. participant_id (with ``sub-``) is there; if there is a
        session_id too, a row stands for a session of a participant.

    Raises
    ------
    NoInputError
        If the dataset or the file does not exist.
    TableError
        If the file is broken or lists a participant (and session) twice.
    """
    path = bids_dir / "participants.tsv"
    if not path.is_file():
        raise NoInputError(
            f"{path}: there is no such file; the group level takes groups and covariates from it. "
            "Make one with the columns participant_id, group, age, sex."
        )
    table = read_table(path, ("participant_id",))
    ids = table["participant_id"].fillna("")
    table["participant_id"] = ["sub-" + text.removeprefix("sub-") for text in ids]
    keys = [name for name in ("participant_id", "session_id") if name in table]
    if "session_id" in table:
        table["session_id"] = _session_ids(table["session_id"])
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
        If one is broken or lists a session twice.
    """
    tables = []
    for label in sorted(set(participants)):
        path = bids_dir / label / f"{label}_sessions.tsv"
        if not path.is_file():
            continue
        table = read_table(path, ("session_id",))
        table["session_id"] = _session_ids(table["session_id"])
        if table["session_id"].duplicated().any():
            raise TableError(f"{path}: a session is listed twice; expected one row each. Remove the surplus rows.")
        table["participant_id"] = label
        tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["participant_id", "session_id"])


def _session_ids(column: pd.Series) -> list[str | None]:
    return [None if pd.isna(text) else "ses-" + str(text).removeprefix("ses-") for text in column]


def read_levels(bids_dir: Path) -> frozenset[str]:
    """Columns that participants.json describes with Levels: categories even if they are written as numbers."""
    try:
        content = json.loads((bids_dir / "participants.json").read_text(encoding="utf-8-sig"))
        return frozenset(key for key, about in content.items() if isinstance(about, dict) and "Levels" in about)
    except (OSError, ValueError, AttributeError):
        return frozenset()


def read_ratings(path: Path) -> pd.DataFrame:
    """Read ratings made on the report pages.

    Parameters
    ----------
    path : Path
        Columns source_file (path of the T1w image in its dataset), rating (good, doubtful, bad), note.

    Raises
    ------
    NoInputError
        If there is no such file.
    TableError
        If a column is missing, a rating is unknown or a scan has two different ones.
    """
    if not path.is_file():
        raise NoInputError(f"{path}: there is no such file; expected ratings ({', '.join(_RATING_COLUMNS)}).")
    table = read_table(path, _RATING_COLUMNS[:2])
    table = table.assign(note=table.get("note")).loc[:, list(_RATING_COLUMNS)].dropna(subset=["rating"])
    table["source_file"] = [str(t).removeprefix(f"bids:{RAW_LINK}:") for t in table["source_file"]]
    table["rating"] = table["rating"].str.lower()
    unknown = set(table["rating"]) - set(RATINGS)
    if unknown:
        raise TableError(f"{path}: unknown rating {shorten(unknown)}; expected {', '.join(RATINGS)}.")
    table = table.drop_duplicates(["source_file", "rating"], keep="last")
    twice = table.loc[table.duplicated("source_file"), "source_file"]
    if len(twice):
        raise TableError(f"{path}: two different ratings of {shorten(twice)}; expected one a scan. Remove one.")
    return table


def read_table(path: Path, needed: Iterable[str]) -> pd.DataFrame:
    """Read a TSV as text, missing values (``n/a``) as None.

    Raises
    ------
    TableError
        If it cannot be read or a needed column is missing.
    """
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, encoding="utf-8-sig", keep_default_na=False,
                            skipinitialspace=True, index_col=False)  # fmt: skip
    except (OSError, ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise TableError(f"{path}: cannot be read as a table with tabs between columns ({error}).") from error
    table.columns = [str(name).strip() for name in table.columns]
    lacking = [name for name in needed if name not in table]
    if lacking:
        found = ", ".join(table.columns)
        raise TableError(f"{path}: no column {', '.join(lacking)}; there are: {found}. Is it separated by tabs?")
    cleaned = table.apply(lambda column: column.str.strip())
    return cleaned.astype(object).where(~cleaned.isin(MISSING), None)


def dataset_name(folder: Path) -> str:
    """Name in a dataset's description, or that of its folder."""
    try:
        return str(json.loads((folder / "dataset_description.json").read_text(encoding="utf-8-sig"))["Name"])
    except (OSError, ValueError, KeyError, TypeError):
        return folder.name

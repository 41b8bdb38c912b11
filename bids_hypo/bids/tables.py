"""The volumes of a derivative dataset, and ratings of its scans."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bids_hypo.bids.checksums import table_flags
from bids_hypo.bids.columns import fold, is_missing
from bids_hypo.bids.entities import Scan, image_name, shorten
from bids_hypo.bids.folders import closed_folders
from bids_hypo.bids.names import RAW_LINK, TABLE_DESC, output_names, scan_of_table, sidecar
from bids_hypo.bids.selection import Selection
from bids_hypo.bids.sidecars import MORPH_COLUMNS
from bids_hypo.bids.tsv import TableError, brief, lines_of_rows, read_rows, read_table
from bids_hypo.bids.unmatched import unmatched
from bids_hypo.errors import NoInputError, NothingSelectedError
from bids_hypo.files import DAMAGED, read_json

GROUP_VOLUMES = "group_volumes.tsv"
GROUP_STATISTICS = "group_statistics.tsv"
GROUP_REPORT = "group_report.html"
RATINGS = ("good", "doubtful", "bad")
_RATING_COLUMNS = ("source_file", "rating", "note")
_NUMBERS = ("volume_mm3", "volume_sd_mm3")
_VOLUMES = {
    ("hypothalamus", "L"): "left_mm3",
    ("hypothalamus", "R"): "right_mm3",
    ("hypothalamus", "B"): "hypothalamus_mm3",
    ("ICV", "B"): "icv_mm3",
}


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
    unmatched : tuple of str
        What was asked for by label and is not there.
    """

    table: pd.DataFrame
    problems: tuple[str, ...]
    unmatched: tuple[str, ...] = ()


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
    every = []
    for path in paths:
        try:
            scan = scan_of_table(path, derivatives)
            every.append(scan.entities)
            if not (selection.accepts_subject(scan.subject) and selection.accepts(scan)):
                continue
            selected += 1
            rows.append(_read_scan(path, scan, derivatives))
        except (TableError, *DAMAGED) as error:
            problems.append(f"{path}: left out, {_text(error).removeprefix(f'{path}: ')}")
    labels = (folder.name.removeprefix("sub-") for folder in sorted(derivatives.glob("sub-*/")))
    closed = closed_folders(derivatives, filter(selection.accepts_subject, labels))
    problems += [f"{why} What is in it is left out." for why in closed.values()]
    if not selected and not problems:
        found = shorten({p.relative_to(derivatives).parts[0] for p in paths})
        raise NothingSelectedError(f"{derivatives}: no scan passes the filters. There are {found}.")
    if not rows:
        raise TableError(f"{derivatives}: none of {len(paths)} tables of volumes can be used. First: {problems[0]}")
    return ScanTables(pd.DataFrame(rows), tuple(problems), tuple(unmatched(selection, every, derivatives)))


def _text(error: Exception) -> str:
    return f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)


def _read_scan(path: Path, scan: Scan, derivatives: Path) -> dict[str, Any]:
    try:
        about = read_json(sidecar(path))
    except FileNotFoundError as error:
        raise ValueError(f"its {sidecar(path).name} is missing, so the scan was not finished") from error
    raw = f"bids:{RAW_LINK}:"
    sources = [text for text in about["Sources"] if str(text).startswith(raw)]
    if not sources:
        raise ValueError(f"its {sidecar(path).name} names no source that begins with {raw}")
    report = output_names(scan, derivatives).report
    volumes = _volumes_of(path)
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


def read_morph(path: Path) -> list[dict[str, str | None]]:
    """Read the rows of a table of volumes as text.

    Returns
    -------
    list of dict
        structure, hemisphere, volume_mm3, volume_sd_mm3, flags and what else there is, as it is written there; None for
        missing values.

    Raises
    ------
    TableError
        If it cannot be read, a column is missing, or a structure is listed twice.
    """
    _, rows = read_rows(path, MORPH_COLUMNS[:3])
    keys = [f"{row['structure']} {row['hemisphere']}" for row in rows]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise TableError(f"{path}: more than one row for {shorten(twice)}; expected one each. Process the scan again.")
    return [dict.fromkeys(MORPH_COLUMNS) | row for row in rows]


def morph_numbers(path: Path) -> pd.DataFrame:
    """Read a table of volumes with its volumes in mm3 as float, NaN where missing; see `read_morph`."""
    rows = [{**row, **{c: _number(row[c], c, path) for c in _NUMBERS}} for row in read_morph(path)]
    return pd.DataFrame(rows).astype(dict.fromkeys(_NUMBERS, float) | {"flags": object})


def all_flags(texts: Iterable[str | None]) -> tuple[str, ...]:
    """Flags of the rows of a table of volumes, each once."""
    found = [flag for text in texts if isinstance(text, str) for flag in text.split(";") if flag]
    return tuple(dict.fromkeys(found))


def _volumes_of(path: Path) -> dict[str, Any]:
    """Volumes, their SD and all flags of one table of volumes."""
    values: dict[str, Any] = dict.fromkeys(_VOLUMES.values())
    flags: list[str | None] = []
    for row in read_morph(path):
        column = _VOLUMES.get((str(row["structure"]), str(row["hemisphere"])))
        if column is None:
            continue
        volume, sd = (_number(row[name], name, path) for name in _NUMBERS)
        if not pd.isna(volume) and not 0 < volume < float("inf"):
            what = f"volume of {row['structure']} {row['hemisphere']}"
            raise TableError(f"{path}: {what} is {row['volume_mm3']}; expected a number above 0")
        values[column] = None if pd.isna(volume) else volume
        if row["hemisphere"] == "B":
            values[column.replace("_mm3", "_sd_mm3")] = None if pd.isna(sd) else sd
        flags.append(row["flags"])
    lacking = [name for name in _VOLUMES.values() if values[name] is None and name != "icv_mm3"]
    if lacking:
        raise TableError(f"{path}: it gives no {', '.join(lacking)}")
    return {"hypothalamus_sd_mm3": None, "icv_sd_mm3": None, **values, "flags": all_flags(flags)}


def _number(text: str | None, column: str, path: Path) -> float:
    try:
        return float("nan") if text is None else float(text)
    except ValueError as error:
        raise TableError(f"{path}: column {column} holds '{brief(text)}'; expected a number.") from error


def read_ratings(path: Path) -> pd.DataFrame:
    """Read ratings made on the report pages.

    Parameters
    ----------
    path : Path
        Columns source_file (path of the image in its dataset), rating (good, doubtful, bad), note.

    Returns
    -------
    DataFrame
        source_file, rating, note and ``image``, the name of the image, for the form of its path may differ.

    Raises
    ------
    NoInputError
        If there is no such file.
    TableError
        If a column is missing, a rating is unknown or has no image, or a scan has two different ones.
    """
    if not path.is_file():
        raise NoInputError(f"{path}: there is no such file; expected ratings ({', '.join(_RATING_COLUMNS)}).")
    table = read_table(path, _RATING_COLUMNS[:2])
    table = table.assign(note=table.get("note")).loc[:, list(_RATING_COLUMNS)]
    table = table[~table["rating"].map(is_missing)]
    nameless = table.index[table["source_file"].map(is_missing)]
    if len(nameless):
        where = lines_of_rows(path, nameless)
        raise TableError(
            f"{path}: line {where} has a rating and no source_file; expected the path of an image. Add it, or remove "
            "the line."
        )
    table["image"] = table["source_file"].map(image_name)
    table["rating"] = table["rating"].map(fold)
    unknown = set(table["rating"]) - set(RATINGS)
    if unknown:
        raise TableError(f"{path}: unknown rating {shorten(unknown)}; expected {', '.join(RATINGS)}.")
    table = table.drop_duplicates(["image", "rating"], keep="last")
    twice = table.loc[table.duplicated("image"), "image"]
    if len(twice):
        raise TableError(f"{path}: two different ratings of {shorten(twice)}; expected one a scan. Remove one.")
    return table


def dataset_name(folder: Path) -> str:
    """Name in a dataset's description, or that of its folder."""
    try:
        return str(read_json(folder / "dataset_description.json")["Name"])
    except (OSError, ValueError, KeyError, TypeError):
        return folder.name

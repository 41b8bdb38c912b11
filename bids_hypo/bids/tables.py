"""The volumes of a derivative dataset: the only reader of its tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bids_hypo.bids.checksums import table_flags
from bids_hypo.bids.columns import natural
from bids_hypo.bids.ensembles import TABLES as ENSEMBLES
from bids_hypo.bids.ensembles import scan_of_ensemble
from bids_hypo.bids.entities import PLAIN_SUFFIX, RAW_LINK, Scan, image_name, shorten
from bids_hypo.bids.folders import closed_folders
from bids_hypo.bids.morph import MORPH_COLUMNS, SUSCEPTIBILITY_COLUMNS
from bids_hypo.bids.names import TABLE_DESC, output_names, sidecar
from bids_hypo.bids.selection import Selection
from bids_hypo.bids.tsv import TableError, brief, read_rows
from bids_hypo.bids.unmatched import unmatched
from bids_hypo.bids.written import scan_of_table
from bids_hypo.errors import NoInputError, NothingSelectedError
from bids_hypo.files import DAMAGED, read_json
from bids_hypo.structures import BOTH, ICV, LEFT, RIGHT, WHOLE

GROUP_VOLUMES = "group_volumes.tsv"
GROUP_STATISTICS = "group_statistics.tsv"
GROUP_REPORT = "group_report.html"
_NUMBERS = ("volume_mm3", "volume_sd_mm3")
SIDE_COLUMNS = {LEFT: "left_mm3", RIGHT: "right_mm3"}
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class ScanTables:
    """The volumes of all scans of a derivative dataset.

    Attributes
    ----------
    table : DataFrame
        One row for each scan, structure and part (the whole first): participant_id, session_id, run (None where the
        name has none), scan, image (its suffix; T1w for UNIT1 too; ensemble), source_file (of an ensemble the first of
        its images), sources (tuple: the file, or those of an ensemble), report (address relative to the
        dataset, None if there is none), structure, title, part, left_mm3, right_mm3 (None where there are no sides),
        volume_mm3, volume_sd_mm3 (None for a part of both sides), where there are susceptibility maps mean_ppm and
        contrast_ppm (of all sides together), icv_mm3, icv_sd_mm3, icv_source (the scan that the
        ICV is of), flags (tuple of str), manual, models.
    problems : tuple of str
        One for each table that had to be left out.
    unmatched : tuple of str
        What was asked for by label and is not there.
    """

    table: pd.DataFrame
    problems: tuple[str, ...]
    unmatched: tuple[str, ...] = ()


def read_volumes(
    derivatives: Path,
    selection: Selection,
    unfit: Collection[str] = (),
    *,
    ensembles: bool = False,
    with_missing: bool = False,
) -> ScanTables:
    """Collect the volumes of a derivative dataset.

    Parameters
    ----------
    derivatives : Path
    selection : Selection
        Which scans.
    unfit : collection of str
        Names of images whose ICV is not taken for other images of the session.
    ensembles : bool
        Whether to read the tables of ensembles too.
    with_missing : bool
        Whether scans in which a structure was not found are kept, its volumes None. Otherwise they are left out, with
        a line.

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
    name = f"anat/*_desc-*{TABLE_DESC}_morph.tsv"
    paths = sorted([*derivatives.glob(f"sub-*/{name}"), *derivatives.glob(f"sub-*/ses-*/{name}")])
    if not paths:
        raise NoInputError(f"{derivatives}: found no table of volumes (sub-*/[ses-*/]{name}). {advice}")
    if ensembles:
        paths += sorted([*derivatives.glob(f"sub-*/{ENSEMBLES}"), *derivatives.glob(f"sub-*/ses-*/{ENSEMBLES}")])
    rows: Rows = []
    problems, every, selected = [], [], 0
    for path in paths:
        try:
            scan = _scan_of(path, derivatives)
            every.append(scan.entities)
            if not (selection.accepts_subject(scan.subject) and selection.accepts(scan)):
                continue
            selected += 1
            rows += _read_scan(path, scan, derivatives, with_missing=with_missing)
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
    table = pd.DataFrame(_with_icv(rows, unfit)).drop(columns="icv_flags")
    return ScanTables(table, tuple(problems), tuple(unmatched(selection, every, derivatives)))


def _scan_of(path: Path, derivatives: Path) -> Scan:
    return (scan_of_ensemble if path.match(ENSEMBLES) else scan_of_table)(path, derivatives)


def _text(error: Exception) -> str:
    return f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)


def _read_scan(path: Path, scan: Scan, derivatives: Path, *, with_missing: bool) -> Rows:
    try:
        about = read_json(sidecar(path))
    except FileNotFoundError as error:
        raise ValueError(f"its {sidecar(path).name} is missing, so the scan was not finished") from error
    sources = [
        text for text in about["Sources"] if str(text).startswith("bids:") and not str(text).startswith("bids::")
    ]
    if not sources:
        raise ValueError(f"its {sidecar(path).name} names no source that begins with bids:{RAW_LINK}:")
    files = tuple(text.removeprefix("bids:").partition(":")[2] for text in sources)
    report = output_names(scan, derivatives).report
    common = {
        "participant_id": f"sub-{scan.subject}",
        "session_id": None if scan.session is None else f"ses-{scan.session}",
        "run": scan.entities.get("run"),
        "scan": scan.name,
        "image": PLAIN_SUFFIX if scan.is_t1 else scan.suffix,
        "source_file": files[0],
        "sources": files,
        "report": report.name if report.is_file() else None,
    }
    table, changed = morph_numbers(path), table_flags(path, about)
    icv = _icv_of(table, scan.name, path)
    structures = about.get("Structures", {})
    rows = []
    for name in dict.fromkeys(table["structure"]):
        if name == ICV:
            continue
        own = table[table["structure"] == name]
        flags = tuple(dict.fromkeys((*all_flags(own["flags"]), *icv["icv_flags"], *changed)))
        told = {"structure": name, "title": str(structures.get(name, {}).get("Title") or name), "flags": flags,
                "manual": _is_manual(about, name), "models": _models_of(about, name)}  # fmt: skip
        rows += [{**common, **told, **volumes, **icv} for volumes in _volumes_of(own, path, with_missing=with_missing)]
    if not rows:
        raise TableError(f"{path}: it gives no volume of a structure")
    return rows


def _is_manual(about: dict[str, Any], structure: str) -> bool:
    """Whether a person has edited the mask of a structure, or that of the ICV."""
    others = set(about.get("Structures", {})) - {structure}
    edited = set(about.get("Edited", {}))
    return bool(about.get("Manual", False)) and not (edited and edited <= others)


def _models_of(about: dict[str, Any], structure: str) -> str:
    """The models that the result of a structure depends on, and whether the fast mode was used, in a line."""
    others = set(about.get("Structures", {})) - {structure}
    models = (f"{m['Name']} {m['Version']}" for role, m in about.get("Models", {}).items() if role not in others)
    return "; ".join([*models, *(["fast"] if about.get("Settings", {}).get("Fast") else [])])


def _with_icv(rows: Rows, unfit: Collection[str]) -> Rows:
    """Give images on which no ICV is measured that of a T1-weighted scan of the same session.

    Of several the first that has no flags for its ICV, by run and name; else the first.
    """
    known: dict[tuple, Rows] = {}
    for row in rows:
        if row["icv_mm3"] is not None and image_name(row["source_file"]) not in unfit:
            known.setdefault((row["participant_id"], row["session_id"]), []).append(row)
    best = {
        session: min(scans, key=lambda one: (bool(one["icv_flags"]), natural(one["run"]), natural(one["scan"])))
        for session, scans in known.items()
    }
    for row in rows:
        source = best.get((row["participant_id"], row["session_id"]))
        if row["icv_source"] is None and source is not None:
            row |= {key: source[key] for key in ("icv_mm3", "icv_sd_mm3", "icv_source")}
            row["flags"] = tuple(dict.fromkeys((*row["flags"], *source["icv_flags"])))
    return rows


def read_morph(path: Path) -> list[dict[str, str | None]]:
    """Read the rows of a table of volumes as text.

    Returns
    -------
    list of dict
        structure, part, hemisphere, volume_mm3, volume_sd_mm3, flags and what else there is, as it is written there;
        None for missing values. Tables of version 0.1 have no parts: all their rows are of wholes.

    Raises
    ------
    TableError
        If it cannot be read, a column is missing, or a structure is listed twice.
    """
    _, rows = read_rows(path, ("structure", "hemisphere", "volume_mm3"))
    rows = [{"part": WHOLE, **row} for row in rows]
    keys = [f"{row['structure']} {row['part']} {row['hemisphere']}" for row in rows]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        rows_of = shorten(key.replace(f" {WHOLE} ", " ") for key in twice)
        raise TableError(f"{path}: more than one row for {rows_of}; expected one each. Process the scan again.")
    return [{**dict.fromkeys(MORPH_COLUMNS[:-1]), **row, "flags": row.pop("flags", None)} for row in rows]


def morph_numbers(path: Path) -> pd.DataFrame:
    """Read a table of volumes with its numbers as float, NaN where missing; see `read_morph`."""
    rows = read_morph(path)
    numbers = [*_NUMBERS, *(column for column in SUSCEPTIBILITY_COLUMNS if rows and column in rows[0])]
    table = [{**row, **{c: _number(row[c], c, path) for c in numbers}} for row in rows]
    return pd.DataFrame(table).astype(dict.fromkeys(numbers, float) | {"flags": object})


def all_flags(texts: Iterable[str | None]) -> tuple[str, ...]:
    """Flags of the rows of a table of volumes, each once."""
    found = [flag for text in texts if isinstance(text, str) for flag in text.split(";") if flag]
    return tuple(dict.fromkeys(found))


def _volumes_of(table: pd.DataFrame, path: Path, *, with_missing: bool) -> Rows:
    """Volumes of the whole structure, then of each kind of part; all sides in one row."""
    name, parts = str(table["structure"].iloc[0]), list(dict.fromkeys(table["part"]))
    if WHOLE not in parts:
        raise TableError(f"{path}: it gives no volume of the whole {name}")
    ordered = sorted(parts, key=lambda one: one != WHOLE)
    return [_volume_of(table[table["part"] == part], path, with_missing=with_missing) for part in ordered]


def _volume_of(rows: pd.DataFrame, path: Path, *, with_missing: bool) -> dict[str, Any]:
    """Volumes of a whole structure, which has a row of all sides, or of a part, whose sides are summed."""
    name, part = (str(rows[column].iloc[0]) for column in ("structure", "part"))
    values = {row["hemisphere"]: _checked(row, path) for row in rows.to_dict("records")}
    sides = {column: values.get(side) for side, column in SIDE_COLUMNS.items()}
    known = [volume for volume in values.values() if volume is not None]
    volume = values.get(BOTH) if part == WHOLE or BOTH in values else sum(known)
    missing = [column for column, value in {**sides, "volume_mm3": volume}.items() if value is None]
    one_sided = sum(value is None for value in sides.values()) == 1
    if not with_missing and (volume is None or one_sided or len(known) < len(values)):
        what = name if part == WHOLE else f"{name}, {part}"
        raise TableError(f"{path}: it gives no {' and no '.join(missing or ['volume_mm3'])} of {what}")
    sd = _spread(rows, BOTH in values)
    together = rows[rows["hemisphere"] == BOTH]
    susceptibility = {c: float(together[c].iloc[0]) for c in SUSCEPTIBILITY_COLUMNS if c in together and len(together)}
    return {**susceptibility, "part": part, **sides, "volume_mm3": volume, "volume_sd_mm3": None if pd.isna(sd) else sd}


def _spread(rows: pd.DataFrame, with_both: bool) -> float | None:
    """The SD of all sides together; None for several rows without it, for what they have in common is not known."""
    spreads = rows.loc[rows["hemisphere"] == BOTH] if with_both else rows
    return float(spreads["volume_sd_mm3"].iloc[0]) if len(spreads) == 1 else None


def _checked(row: dict[Any, Any], path: Path) -> float | None:
    """A volume; None where there is none. That of a part may be 0."""
    volume = row["volume_mm3"]
    if pd.isna(volume):
        return None
    whole = row["part"] == WHOLE
    if not ((volume > 0 if whole else volume >= 0) and volume < float("inf")):
        what = " ".join(str(row[key]) for key in ("structure", "part", "hemisphere") if row[key] not in (WHOLE, None))
        expected = "a number above 0" if whole else "0 or a number above"
        raise TableError(f"{path}: volume of {what} is {volume:g}; expected {expected}")
    return float(volume)


def _icv_of(table: pd.DataFrame, scan: str, path: Path) -> dict[str, Any]:
    """The intracranial volume in a table; no source where the image is of a kind that it is not measured on."""
    rows = table[(table["structure"] == ICV) & (table["hemisphere"] == BOTH)]
    if not len(rows):
        return {"icv_mm3": None, "icv_sd_mm3": None, "icv_source": None, "icv_flags": ()}
    row = rows.to_dict("records")[0]
    sd = row["volume_sd_mm3"]
    return {"icv_mm3": _checked(row, path), "icv_sd_mm3": None if pd.isna(sd) else sd, "icv_source": scan,
            "icv_flags": all_flags(rows["flags"])}  # fmt: skip


def _number(text: str | None, column: str, path: Path) -> float:
    try:
        return float("nan") if text is None else float(text)
    except ValueError as error:
        raise TableError(f"{path}: column {column} holds '{brief(text)}'; expected a number.") from error


def dataset_name(folder: Path) -> str:
    """Name in a dataset's description, or that of its folder."""
    try:
        return str(read_json(folder / "dataset_description.json")["Name"])
    except (OSError, ValueError, KeyError, TypeError):
        return folder.name

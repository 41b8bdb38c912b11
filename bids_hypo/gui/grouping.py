"""The group level for people who have a table: the table becomes the derivatives that the group level reads."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_hypo.bids.dataset import write_tsv
from bids_hypo.bids.entities import RAW_LINK, Scan, split_name
from bids_hypo.bids.names import TABLE_DESC, output_names, sidecar
from bids_hypo.bids.sidecars import write_json
from bids_hypo.bids.tables import SIDE_COLUMNS, morph_numbers
from bids_hypo.bids.tsv import MISSING, TableError, read_table
from bids_hypo.gui.archives import unpack
from bids_hypo.gui.options import Limits
from bids_hypo.gui.texts import text
from bids_hypo.measure.quality import ICV_NOT_MEASURABLE
from bids_hypo.measure.volumes import PartVolume, icv_volume, volume_table
from bids_hypo.structures import BOTH, HYPOTHALAMUS, ICV, WHOLE

NEEDED = ("scan", "source_file", "left_mm3", "right_mm3", "volume_mm3", "icv_mm3")
_OF_0_1 = {"hypothalamus_mm3": "volume_mm3", "hypothalamus_sd_mm3": "volume_sd_mm3"}
_ROUNDING = 0.01  # mm3; a table has fewer digits than the results it was made from
Seen = dict[str, tuple[str, pd.Series]]  # by the name of a table of volumes: where it was found, and its volumes


def make_study(tables: Sequence[Path], participants: Path, folder: Path, limits: Limits) -> tuple[Path, Path]:
    """Lay out what the group level reads.

    Parameters
    ----------
    tables : sequence of Path
        Tables of the tab for several scans, or zips with results.
    participants : Path
        participants.tsv.
    folder : Path
        Empty.
    limits : Limits

    Returns
    -------
    bids_dir, derivatives : Path

    Raises
    ------
    BidsHypoError
        If a file is not what it should be.
    """
    raw, out = folder / "study", folder / "results"
    raw.mkdir()
    out.mkdir()
    write_json(raw / "dataset_description.json", {"Name": "Uploaded study", "BIDSVersion": "1.11.0"})
    shutil.copyfile(participants, raw / "participants.tsv")
    seen: Seen = {}
    for number, table in enumerate(tables):
        if table.suffix.lower() == ".zip":
            _take_zip(table, folder / f"unpacked-{number}", out, limits, seen)
        elif table.suffix.lower() in (".tsv", ".txt"):
            _take_table(table, out, seen)
        else:
            raise TableError(text("error.table_kind", name=table.name))
    return raw, out


def _take_zip(archive: Path, work: Path, out: Path, limits: Limits, seen: Seen) -> None:
    work.mkdir()
    members = unpack(archive, work, limits, name=archive.name)
    roots = sorted((p.parent for p in members if p.name == "dataset_description.json"), key=lambda p: len(p.parts))
    if not roots or not any(roots[0].glob("sub-*")):
        raise TableError(text("error.zip_results", name=archive.name))
    for path in roots[0].rglob(f"*_desc-*{TABLE_DESC}_morph.tsv"):
        try:
            volumes = morph_numbers(path)
        except TableError:  # the group level leaves it out and says so
            continue
        _claim(seen, path.name, archive.name, volumes)
    shutil.copytree(roots[0], out, dirs_exist_ok=True)
    shutil.rmtree(work)


def _take_table(path: Path, out: Path, seen: Seen) -> None:
    """Write a table of volumes with its sidecar for each scan; tables of version 0.1 have other names of columns."""
    header = read_table(path, NEEDED[:2]).rename(columns=_OF_0_1)
    lacking = [name for name in NEEDED if name not in header]
    if lacking:
        raise TableError(text("error.table_columns", name=path.name, columns=", ".join(lacking)))
    table = header.assign(
        structure=header.get("structure", HYPOTHALAMUS), part=header.get("part", WHOLE), image=header.get("image")
    )
    table = table[table["volume_mm3"].notna()]
    if table.empty:
        raise TableError(text("error.table_rows", name=path.name))
    again = table.groupby(["scan", "structure", "part"], dropna=False).cumcount()  # rows of a scan that come twice
    for _, rows in table.groupby([table["scan"], again], sort=False, dropna=False):
        told = [{str(k): None if pd.isna(v) else v for k, v in row.items()} for row in rows.to_dict("records")]
        _write_scan(told, path.name, out, seen)


def _claim(seen: Seen, morph: str, table: str, volumes: pd.DataFrame) -> None:
    """Note the volumes of a scan; a scan that has other ones already is an error."""
    keyed = volumes.fillna({"hemisphere": ""}).set_index(["structure", "part", "hemisphere"])
    found = keyed["volume_mm3"].astype(float).sort_index()
    other, before = seen.setdefault(morph, (table, found))
    alike = found.index.equals(before.index) and np.allclose(found, before, rtol=0, atol=_ROUNDING, equal_nan=True)
    if not alike:
        raise TableError(text("error.table_twice", name=table, scan=morph.partition("_desc-")[0], other=other))


def _write_scan(rows: list[dict[str, Any]], table: str, out: Path, seen: Seen) -> None:
    """Write what the rows of a table say of one scan: one for each structure and part."""
    name = rows[0]["scan"] or ""
    try:
        entities, suffix, _ = split_name(name)
        scan = Scan(out / name, entities, suffix, out)
        names = output_names(scan, out)
    except (ValueError, KeyError) as error:
        found = text("error.table_scan", name=table, found=name or MISSING)
        raise TableError(found) from error
    measured: dict[str, tuple[list[PartVolume], list[str]]] = {}
    of_icv: list[str] = []
    for row in rows:
        flags = [flag for flag in (row.get("flags") or "").split(";") if flag]
        of_icv = [flag for flag in flags if flag in ICV_NOT_MEASURABLE]
        volumes, of_structure = measured.setdefault(row["structure"], ([], []))
        volumes += _volumes_of(row, table)
        of_structure += [flag for flag in flags if flag not in (*of_icv, *of_structure)]
    own_icv = scan.is_t1 or rows[0].get("icv_source") == name
    if own_icv:
        icv = None if rows[0]["icv_mm3"] is None else _number(rows[0], "icv_mm3", table)
        measured[ICV] = ([*icv_volume(icv)], of_icv)
    written = volume_table(measured)
    _claim(seen, names.morph.name, table, written)
    write_tsv(names.morph, written)
    write_json(sidecar(names.morph), _record(rows))


def _volumes_of(row: dict[str, Any], table: str) -> list[PartVolume]:
    """The volumes that a row of a table gives: sides where there are any, and all together."""
    part = str(row["part"])
    spread = None if row.get("volume_sd_mm3") is None else _number(row, "volume_sd_mm3", table)
    sides = [(side, column) for side, column in SIDE_COLUMNS.items() if row[column] is not None]
    found = [PartVolume(part, side, _number(row, column, table)) for side, column in sides]
    if part == WHOLE or not sides:
        together = BOTH if part == WHOLE else None
        found.append(PartVolume(part, together, _number(row, "volume_mm3", table), spread))
    return found


def _number(row: dict[str, Any], column: str, table: str) -> float:
    try:
        value = float(row[column])
    except (TypeError, ValueError):
        value = np.nan
    if not 0 <= value < np.inf or (value == 0 and row["part"] == WHOLE):
        found = text("error.table_value", name=table, participant=row["scan"], column=column, found=row[column])
        raise TableError(found)
    return value


def _record(rows: list[dict[str, Any]]) -> dict[str, Any]:
    models = [part.strip() for row in rows for part in (row.get("models") or "").split(";") if part.strip()]
    named = [part.rpartition(" ") for part in dict.fromkeys(models) if part != "fast"]
    return {
        "Sources": [f"bids:{RAW_LINK}:{rows[0]['source_file']}"],
        "Models": {str(k): {"Name": name, "Version": version} for k, (name, _, version) in enumerate(named)},
        "Settings": {"Fast": "fast" in models},
        "Structures": {row["structure"]: {"Title": row.get("title") or row["structure"]} for row in rows},
    }

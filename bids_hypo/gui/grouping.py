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
from bids_hypo.bids.tables import morph_numbers
from bids_hypo.bids.tsv import MISSING, TableError, read_table
from bids_hypo.gui.archives import unpack
from bids_hypo.gui.options import Limits
from bids_hypo.gui.texts import text
from bids_hypo.measure.quality import ICV_NOT_MEASURABLE
from bids_hypo.measure.volumes import volume_table

NEEDED = ("scan", "source_file", "left_mm3", "right_mm3", "hypothalamus_mm3", "icv_mm3")
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
    for path in roots[0].rglob(f"*_desc-{TABLE_DESC}_morph.tsv"):
        try:
            volumes = morph_numbers(path)
        except TableError:  # the group level leaves it out and says so
            continue
        _claim(seen, path.name, archive.name, volumes)
    shutil.copytree(roots[0], out, dirs_exist_ok=True)
    shutil.rmtree(work)


def _take_table(path: Path, out: Path, seen: Seen) -> None:
    """Write a table of volumes with its sidecar for each row."""
    table = read_table(path, NEEDED)
    rows = [row for row in table.to_dict("records") if row["left_mm3"] is not None]
    if not rows:
        raise TableError(text("error.table_rows", name=path.name))
    for row in rows:
        _write_scan({str(key): value for key, value in row.items()}, path.name, out, seen)


def _claim(seen: Seen, morph: str, table: str, volumes: pd.DataFrame) -> None:
    """Note the volumes of a scan; a scan that has other ones already is an error."""
    found = volumes.set_index(["structure", "hemisphere"])["volume_mm3"].astype(float).sort_index()
    other, before = seen.setdefault(morph, (table, found))
    alike = found.index.equals(before.index) and np.allclose(found, before, rtol=0, atol=_ROUNDING, equal_nan=True)
    if not alike:
        raise TableError(text("error.table_twice", name=table, scan=morph.partition("_desc-")[0], other=other))


def _write_scan(row: dict[str, Any], table: str, out: Path, seen: Seen) -> None:
    name = row["scan"] or ""
    try:
        entities, suffix, _ = split_name(name)
        names = output_names(Scan(out / name, entities, suffix, out), out)
    except (ValueError, KeyError) as error:
        found = text("error.table_scan", name=table, found=name or MISSING)
        raise TableError(found) from error

    def volume(column: str) -> float:
        try:
            value = float(row[column])
        except (TypeError, ValueError):
            value = np.nan
        if not 0 < value < np.inf:
            found = text("error.table_value", name=table, participant=name, column=column, found=row[column])
            raise TableError(found)
        return value

    flags = [flag for flag in (row.get("flags") or "").split(";") if flag]
    of_icv = [flag for flag in flags if flag in ICV_NOT_MEASURABLE]
    spread = row.get("hypothalamus_sd_mm3")
    volumes = volume_table(
        volume("left_mm3"), volume("right_mm3"), None if row["icv_mm3"] is None else volume("icv_mm3"),
        hypothalamus_flags=[flag for flag in flags if flag not in of_icv], icv_flags=of_icv,
        volume_sd_mm3=(np.nan, np.nan, np.nan if spread is None else volume("hypothalamus_sd_mm3")),
    )  # fmt: skip
    volumes.loc[2, "volume_mm3"] = volume("hypothalamus_mm3")  # as in the table, to its last digit
    _claim(seen, names.morph.name, table, volumes)
    write_tsv(names.morph, volumes)
    write_json(sidecar(names.morph), _record(row))


def _record(row: dict[str, Any]) -> dict[str, Any]:
    models = [part.strip() for part in (row.get("models") or "").split(";") if part.strip()]
    named = [part.rpartition(" ") for part in models if part != "fast"]
    return {
        "Sources": [f"bids:{RAW_LINK}:{row['source_file']}"],
        "Models": {str(k): {"Name": name, "Version": version} for k, (name, _, version) in enumerate(named)},
        "Settings": {"Fast": "fast" in models},
    }

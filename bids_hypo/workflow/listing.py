"""The list of all scans of a derivative dataset: its columns, and what stands in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bids_hypo.bids.entities import PLAIN_SUFFIX
from bids_hypo.bids.names import HEAD_FIGURES, OutputNames, index_file
from bids_hypo.report.index_page import Column, IndexEntry, write_index_page
from bids_hypo.structures import WHOLE

Rows = dict[str, list[dict[str, Any]]]  # by the name of the scan, a row for each structure and part


def write_index(output_dir: Path, written: Sequence[OutputNames], table: Rows, dataset: str) -> None:
    """Write the list of all scans of a derivative dataset; see `bids_hypo.workflow.reports.write_pages`."""
    columns = _index_columns(table)
    entries = []
    for names in written:
        if names.scan.name not in table:
            continue
        rows = table[names.scan.name]
        thumbnail = names.figure(*HEAD_FIGURES["thumbnail"])
        entries.append(
            IndexEntry(
                name=names.scan.name,
                source_file=rows[0]["source_file"],
                report=names.report.name if names.report.is_file() else None,
                thumbnail=thumbnail.relative_to(output_dir).as_posix() if thumbnail.is_file() else None,
                volumes=_index_values(rows),
                flags=tuple(dict.fromkeys(flag for row in rows for flag in row["flags"])),
                manual=any(bool(row["manual"]) for row in rows),
            )
        )
    n_failed = len(list(output_dir.glob("logs/crash-*.txt")))
    write_index_page(index_file(output_dir), entries, columns, dataset=dataset, n_failed=n_failed)


def _index_columns(table: Rows) -> list[Column]:
    """Whole volumes of each structure and what is made of them; the sides too where there is one structure only."""
    titles = {row["structure"]: row["title"] for rows in table.values() for row in rows}
    paired = any(row["left_mm3"] is not None for rows in table.values() for row in rows)
    columns = []
    for name, title in titles.items():
        columns.append(Column(f"{name} volume_mm3", f"{title}, mm³"))
        if len(titles) == 1 and paired:
            columns += [Column(f"{name} left_mm3", "left"), Column(f"{name} right_mm3", "right")]
    if not any(row["icv_mm3"] is not None or row["image"] == PLAIN_SUFFIX for rows in table.values() for row in rows):
        return columns  # no image that it is measured on
    columns.append(Column("icv", "ICV, cm³"))
    of_icv = "of ICV, ‰" if len(titles) == 1 else "{} of ICV, ‰"
    return [*columns, *(Column(f"{name} ratio", of_icv.format(title), 3) for name, title in titles.items())]


def _index_values(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    values: dict[str, float | None] = {}
    icv = rows[0]["icv_mm3"]
    for row in rows:
        if row["part"] == WHOLE:
            name = row["structure"]
            values |= {f"{name} {column}": row[column] for column in ("volume_mm3", "left_mm3", "right_mm3")}
            values[f"{name} ratio"] = None if None in (icv, row["volume_mm3"]) else 1000 * row["volume_mm3"] / icv
    values["icv"] = None if icv is None else icv / 1000
    return {key: value for key, value in values.items() if value is not None}

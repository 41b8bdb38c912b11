"""The page that lists all scans of a dataset: thumbnails, volumes, flags first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_hypo.report.flag_texts import describe_flags
from bids_hypo.report.html import write_page


@dataclass(frozen=True)
class Column:
    """A column of volumes on the list: its key, its heading, and how many digits are shown."""

    key: str
    heading: str
    digits: int = 0


@dataclass(frozen=True)
class IndexEntry:
    """One scan on the list.

    Attributes
    ----------
    name, source_file : str
    report, thumbnail : str or None
        Addresses relative to the page.
    volumes : mapping of str to float
        What is listed of it, by the keys of the columns.
    flags : tuple of str
    manual : bool
        Whether the volumes were counted in a mask that a person corrected.
    """

    name: str
    source_file: str
    report: str | None
    thumbnail: str | None
    volumes: Mapping[str, float]
    flags: tuple[str, ...]
    manual: bool


def write_index_page(
    path: Path, entries: Sequence[IndexEntry], columns: Sequence[Column], *, dataset: str, n_failed: int
) -> None:
    """Write the list; flagged scans come first, then by name.

    Parameters
    ----------
    path : Path
    entries : sequence of IndexEntry
    columns : sequence of Column
    dataset : str
        Name of the dataset; ratings in the browser are kept under it.
    n_failed : int
        Scans that have a crash file.
    """
    ordered = sorted(entries, key=lambda e: (-len(e.flags), e.name))
    rows = [
        {"entry": e, "flags": describe_flags(e.flags), "values": [e.volumes.get(column.key) for column in columns]}
        for e in ordered
    ]
    write_page(
        path,
        "index.html",
        dataset=dataset,
        rows=rows,
        columns=columns,
        n_flagged=sum(bool(e.flags) for e in entries),
        n_failed=n_failed,
    )

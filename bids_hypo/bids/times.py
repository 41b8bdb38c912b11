"""Times of sessions and scans: what ISO 8601 allows, in any century."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from bids_hypo.bids.columns import fold, is_missing
from bids_hypo.bids.entities import image_name
from bids_hypo.bids.tsv import TableError, read_rows

TIME_COLUMN = "acq_time"
_DAY = timedelta(days=1)
EXPECTED_TIME = "Expected year-month-day as in 2010-02-01T00:00:00 (ISO 8601)."


class ScanTime(NamedTuple):
    """When an image was made, as it is written, and the name of the table that says so."""

    text: str
    file: str


def days_of(text: str) -> float | None:
    """Days from the year 1 to a time such as ``2009-06-15T13:45:30.5Z`` or ``1625-06-15``; None if it is no such time.

    Without a zone it is taken as UTC. Years are 1 to 9999: times that were shifted to hide a person can lie anywhere.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    offset = time.utcoffset() or timedelta()
    return (time.replace(tzinfo=None) - datetime.min) / _DAY - offset / _DAY


def read_scan_times(bids_dir: Path, participants: Iterable[str]) -> tuple[dict[str, list[ScanTime]], tuple[str, ...]]:
    """Read acq_time of the scans.tsv files of some participants.

    Parameters
    ----------
    bids_dir : Path
    participants : iterable of str
        With ``sub-``.

    Returns
    -------
    dict of str to list of ScanTime
        By the name of the image (`bids_hypo.bids.entities.image_name`), for the form of its path differs: all times
        that a table of the same participant gives it, missing ones left out.
    tuple of str
        One for each table that cannot be used.
    """
    found: dict[str, list[ScanTime]] = {}
    problems = []
    for label in sorted(set(participants)):
        folder = bids_dir / label
        for path in sorted([*folder.glob(f"{label}_scans.tsv"), *folder.glob(f"ses-*/{label}_ses-*_scans.tsv")]):
            try:
                names, rows = read_rows(path, ("filename",))
            except TableError as error:
                problems.append(str(error))
                continue
            column = next((name for name in names if fold(name) == TIME_COLUMN), TIME_COLUMN)
            for row in rows:
                name, time = image_name(row["filename"] or ""), row.get(column)
                if name.startswith(f"{label}_") and not is_missing(time):
                    found.setdefault(name, []).append(ScanTime(str(time), path.name))
    return found, tuple(problems)

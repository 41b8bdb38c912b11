"""Times of sessions and scans: what ISO 8601 allows, in any century."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from bids_hypo.bids.tsv import TableError, read_rows

_DAY = timedelta(days=1)


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


def read_scan_times(bids_dir: Path, participants: Iterable[str]) -> tuple[dict[str, tuple[str, str]], tuple[str, ...]]:
    """Read acq_time of the scans.tsv files of some participants.

    Parameters
    ----------
    bids_dir : Path
    participants : iterable of str
        With ``sub-``.

    Returns
    -------
    dict of str to (str, str)
        acq_time as it is written, and the name of the table, by the path of the image in the dataset without extension.
    tuple of str
        One for each table that cannot be used.
    """
    found: dict[str, tuple[str, str]] = {}
    problems = []
    for label in sorted(set(participants)):
        folder = bids_dir / label
        for path in sorted([*folder.glob(f"{label}_scans.tsv"), *folder.glob(f"ses-*/{label}_ses-*_scans.tsv")]):
            try:
                _, rows = read_rows(path, ("filename",))
            except TableError as error:
                problems.append(str(error))
                continue
            inside = path.parent.relative_to(bids_dir)
            for row in rows:
                image, time = row["filename"], row.get("acq_time")
                if image is not None and time is not None:
                    found.setdefault(image_key((inside / image).as_posix()), (time, path.name))
    return found, tuple(problems)


def image_key(path: str) -> str:
    """Path of an image without its extension: a scan may have been compressed after its table was written."""
    return path.removesuffix(".gz").removesuffix(".nii")

"""Checksums: of the scan that was measured, and of the files that were written for it."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_hypo.errors import ScanReadError
from bids_hypo.files import open_file

TABLE_CHANGED = "table_changed"  # the flag of a table that is not the one that participant level wrote

_POINTERS = (b"/annex/objects/", b"version https://git-lfs.github.com/spec/")
_POINTER_BYTES = 32768

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stamp:
    """What tells at a glance that a file has not been touched; links are followed.

    Attributes
    ----------
    size_bytes : int
    modified_ns, changed_ns : int
        Times of the content and of the entry on the disk, ns since 1970. Archives and copies may bring back the first;
        nobody sets the second.
    """

    size_bytes: int
    modified_ns: int
    changed_ns: int


@dataclass(frozen=True)
class SourceRecord:
    """The scan that was measured: its stamp, and the SHA-256 of its bytes."""

    stamp: Stamp
    sha256: str


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; read in pieces."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stamp_of(path: Path) -> Stamp | None:
    """The stamp of a file; None if it cannot be reached.

    That is a dangling link, or the few words that git-annex and Git LFS leave in place of a file that is not fetched.
    """
    try:
        with open_file(path) as file:
            status = os.fstat(file.fileno())
            if status.st_size < _POINTER_BYTES and file.read(_POINTER_BYTES).startswith(_POINTERS):
                return None
    except OSError:
        return None
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def record_source(path: Path, before: Stamp | None) -> SourceRecord:
    """The record of a scan that was just read.

    Parameters
    ----------
    path : Path
    before : Stamp or None
        Taken before the scan was read. If it still holds after the checksum, the bytes are those that were read.

    Raises
    ------
    ScanReadError
        If the file has changed in between.
    OSError
        If it cannot be read.
    """
    digest = sha256_of(path)
    if before is None or stamp_of(path) != before:
        raise ScanReadError(
            f"{path}: the file was changed or replaced while it was being read; expected one that stays as it is. "
            "Run again when nothing writes to the dataset."
        )
    return SourceRecord(before, digest)


def source_fields(source: SourceRecord | None) -> dict[str, Any]:
    """Fields of a sidecar that tell which bytes were measured; null where the scan is not at hand."""
    if source is None:
        return {"SourceBytes": None, "SourceSHA256": None}
    return {"SourceBytes": source.stamp.size_bytes, "SourceSHA256": source.sha256}


def source_times(stamp: Stamp | None) -> dict[str, dict[str, int]]:
    """The field of the closing record that saves computing the checksum of an untouched scan again."""
    return {} if stamp is None else {"SourceTimes": {"ModifiedNs": stamp.modified_ns, "ChangedNs": stamp.changed_ns}}


def checksums(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of files by their names, in the order of the names."""
    return {path.name: sha256_of(path) for path in sorted(paths)}


def recorded_checksums(closing: Mapping[str, Any]) -> dict[str, str | None] | None:
    """What the closing record of a scan says of its files.

    Parameters
    ----------
    closing : mapping
        JSON of the table of volumes.

    Returns
    -------
    dict of str to (str or None) or None
        SHA-256 by name; None for each in records of earlier versions, which listed names only. None without a list.
    """
    files = closing.get("Files")
    if isinstance(files, Mapping):
        return {str(name): str(digest) for name, digest in files.items()}
    return {str(name): None for name in files} if isinstance(files, list) else None


def table_flags(path: Path, closing: Mapping[str, Any]) -> tuple[str, ...]:
    """Flag (and warn of) a table of volumes that is not the one that its closing record was written for.

    Parameters
    ----------
    path : Path
        The table.
    closing : mapping
        Its JSON.

    Returns
    -------
    tuple of str
        `TABLE_CHANGED`, or nothing; earlier versions recorded no checksum to compare with.
    """
    expected = (recorded_checksums(closing) or {}).get(path.name)
    if expected is None or sha256_of(path) == expected:
        return ()
    _log.warning(
        "%s: the table was changed after it was written (SHA-256 differs from the one in its JSON); flagged %s. "
        "Run participant level again to measure the scan anew.", path, TABLE_CHANGED,
    )  # fmt: skip
    return (TABLE_CHANGED,)

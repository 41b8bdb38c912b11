"""Keeping two jobs off the same scan."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bids_hypo.bids.names import OutputNames

CLAIM_SECONDS = 900.0  # how long another job may take for a scan; after that we go on beside it
_CLAIM_POLL_SECONDS = 0.5

_log = logging.getLogger(__name__)


@contextmanager
def claim(names: OutputNames) -> Iterator[None]:
    """Hold a scan for as long as the block lasts, so that two jobs never write its derivatives at the same time.

    The claim is a lock on a small file in ``logs/``: it ends with the process that holds it, however that ends, and
    reaches across machines where the file system supports locks. Where it does not, or where another job holds
    the scan for longer than `CLAIM_SECONDS`, the block runs without: files are still written whole.

    Parameters
    ----------
    names : OutputNames
    """
    path = lock_file(names)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = _lock(path)
    try:
        yield
    finally:
        if handle is not None:
            path.unlink(missing_ok=True)
            os.close(handle)


def lock_file(names: OutputNames) -> Path:
    """The small file in ``logs/`` that a job holds while it works on a scan."""
    return names.crash.with_name(f".{names.scan.name}.lock")


def _lock(path: Path) -> int | None:
    """Lock a file and return its handle; None if that cannot be had."""
    deadline = time.monotonic() + CLAIM_SECONDS
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(handle, path):
                return handle
            os.close(handle)  # the holder before us has removed it: lock the new one
            continue
        except OSError as error:
            os.close(handle)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                _log.debug("%s: no locks on this file system (%s)", path, error)
                path.unlink(missing_ok=True)
                return None
        if time.monotonic() > deadline:
            _log.warning("%s: another job has held it for %g s; going on beside it.", path, CLAIM_SECONDS)
            return None
        time.sleep(_CLAIM_POLL_SECONDS)


def _is_still(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESTALE):  # NFS calls a file stale that another machine has removed
            return False
        raise

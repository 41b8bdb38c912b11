"""Files that a living process holds, by a lock of the operating system: it ends with the process, however that ends."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


class NoLocksError(OSError):
    """The file system has no locks."""


def open_held(path: Path) -> int | None:
    """Open a file, or make it, and hold it.

    Parameters
    ----------
    path : Path
        A link that somebody put there is not followed but removed.

    Returns
    -------
    int or None
        Its handle, which may be read and written and holds the file until it is closed; None if another process, or
        another handle of this one, holds the file.

    Raises
    ------
    OSError
        If it cannot be opened; a `NoLocksError` where the file system has no locks.
    """
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except OSError as error:
            if error.errno != errno.ELOOP or not path.is_symlink():
                raise
            path.unlink(missing_ok=True)
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(handle, path):
                return handle
        except OSError as error:
            os.close(handle)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return None
            raise NoLocksError(error.errno, error.strerror, str(path)) from error
        os.close(handle)  # the holder before us has removed it: hold a new one


def _is_still(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESTALE):  # NFS calls a file stale that another machine has removed
            return False
        raise


def remove_unheld(paths: Iterable[Path]) -> list[Path]:
    """Remove those files that no process holds any more; returns them. What cannot be told or removed stays."""
    removed = []
    for path in paths:
        with suppress(OSError):
            if not path.exists():
                continue
            handle = open_held(path)
            if handle is not None:
                try:
                    path.unlink(missing_ok=True)
                finally:
                    os.close(handle)
                removed.append(path)
    return removed

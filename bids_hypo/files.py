"""Opening files that others made: only real files, no more of them than expected, and JSON that can be read."""

from __future__ import annotations

import errno
import io
import json
import os
import stat
from pathlib import Path
from typing import Any

DAMAGED = (OSError, ValueError, LookupError, TypeError, AttributeError)
"""What comes of a file that holds something else than its reader expects."""
MOST_JSON_BYTES = 100_000_000
_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


def open_file(path: Path) -> io.BufferedReader:
    """Open a file for reading; links are followed.

    Parameters
    ----------
    path : Path

    Raises
    ------
    OSError
        If it cannot be opened, or is no file: a folder, or a pipe, a socket or a device, which may give bytes without
        end, or make the program wait for ever.
    """
    _check_kind(path.stat(), path)
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe put there meanwhile does not hold us
    try:
        _check_kind(os.fstat(handle), path)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def _check_kind(status: os.stat_result, path: Path) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if kind != stat.S_IFREG:
        raise OSError(errno.EINVAL, f"it is {_KINDS.get(kind, 'something else')}, no file", str(path))


def read_bytes(path: Path, *, at_most: int) -> bytes:
    """All bytes of a file.

    Parameters
    ----------
    path : Path
    at_most : int

    Raises
    ------
    OSError
        See `open_file`; also for a file of more bytes.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size  # to read takes memory for as much as is asked for
        if size > at_most:
            raise OSError(errno.EFBIG, f"it has more than {at_most / 1e6:g} MB", str(path))
        return file.read(size)


def read_json(path: Path, *, pipe_allowed: bool = False) -> Any:
    """What a JSON file holds; a byte order mark is forgiven.

    Parameters
    ----------
    path : Path
    pipe_allowed : bool
        For files that a person names on the command line, where a shell may put a pipe: ``<(...)``.

    Raises
    ------
    OSError
        If it cannot be opened: absent, a dangling link, a folder, not permitted; see `read_bytes`.
    ValueError
        If it is not JSON in UTF-8, or nested more deeply than can be read.
    """
    if pipe_allowed and path.is_fifo():
        data = path.read_bytes()
    else:
        data = read_bytes(path, at_most=MOST_JSON_BYTES)
    try:
        content = json.loads(data.decode("utf-8-sig"))
        if rb"\u" in data:
            json.dumps(content, ensure_ascii=False).encode()  # half a character could be written nowhere
        return content
    except UnicodeEncodeError as error:
        raise ValueError(r"it holds half a character (\ud800 to \udfff)") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error

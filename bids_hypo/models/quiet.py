"""Keeping what TensorFlow and its libraries say about themselves off a user's terminal."""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

LEVEL_VARIABLE = "TF_CPP_MIN_LOG_LEVEL"  # TensorFlow's own: 0 everything, 3 nothing but what ends the process
_STDERR = 2
_ONE_AT_A_TIME = threading.RLock()  # two threads that lead it away would lead it back in the wrong order

logger = logging.getLogger(__name__)


def wants_everything() -> bool:
    """Whether TensorFlow may say all that it has to say (``-vv``, or the user's own setting)."""
    return os.environ.get(LEVEL_VARIABLE) == "0"


@contextmanager
def native_output_held() -> Iterator[None]:
    """Hold back what anything in this process writes to standard error while the block runs.

    Libraries write there before their logging has been set up, which no setting prevents. What was held back is logged
    at the level DEBUG, or shown if the block fails. If native code ends the process, Python says where.
    """
    with _ONE_AT_A_TIME:
        terminal = None if wants_everything() else _duplicate()
        if terminal is None:
            yield
            return
        yield from _held(terminal)


def _held(terminal: int) -> Iterator[None]:
    traced = faulthandler.is_enabled()
    with _place() as held:
        _flush()
        os.dup2(held.fileno(), _STDERR)
        faulthandler.enable(terminal)
        try:
            yield
        except BaseException:
            _release(terminal, traced=traced)
            os.write(_STDERR, _content(held.fileno()))
            raise
        _release(terminal, traced=traced)
        for line in _content(held.fileno()).decode(errors="replace").splitlines():
            logger.debug("%s", line)


def _place() -> IO[bytes]:
    """Memory rather than a file where the system has that: there may be no folder that can be written."""
    return os.fdopen(os.memfd_create("held"), "w+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile()


def _duplicate() -> int | None:
    try:
        return os.dup(_STDERR)
    except OSError:  # there is no standard error
        return None


def _release(terminal: int, *, traced: bool) -> None:
    _flush()
    os.dup2(terminal, _STDERR)
    os.close(terminal)
    faulthandler.disable()
    if traced:
        faulthandler.enable(_STDERR)


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()


def _content(handle: int) -> bytes:
    return os.pread(handle, os.fstat(handle).st_size, 0)

"""Ending at once with nothing half done: after a signal, and when the process that started this one is gone.

TensorFlow cannot be interrupted, nor can a thread, so nobody waits for them. Whoever makes something that must not stay
half done passes a gate (`unless_ending`) and says how it is undone (`undone_at_end`). At the end the gate is shut for
good, what is half done is undone, and the process leaves, whatever its threads are at.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

LIMIT_SECONDS = 7.0  # for the undoing, on a file system that hangs; docker kills after ten
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_gate = threading.RLock()
_undo: list[Callable[[], object]] = []
_instead: list[Callable[[], object]] = []


def exit_status(number: int) -> int:
    """What a shell says of a program that a signal ended: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + number


@contextmanager
def unless_ending() -> Iterator[None]:
    """Do the block as a whole: the end waits for it, and after the end has begun it is not entered any more."""
    with _gate:
        yield


@contextmanager
def undone_at_end(undo: Callable[[], object]) -> Iterator[None]:
    """Call a function if the process is ended in the middle of the block.

    Parameters
    ----------
    undo : callable
        Quick. What it raises is dropped. The latest is called first.
    """
    with _gate:
        _undo.append(undo)
    try:
        yield
    finally:
        with _gate:
            _undo.remove(undo)


@contextmanager
def temporary_folder(prefix: str = "bids_hypo-", place: Path | None = None) -> Iterator[Path]:
    """A new folder that is gone after the block, also if the process is ended in it.

    Parameters
    ----------
    prefix : str
    place : Path, optional
        Where it is made; the usual folder for temporary files unless told.
    """
    with _gate:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
        undo = partial(shutil.rmtree, folder, ignore_errors=True)
        _undo.append(undo)
    try:
        yield folder
    finally:
        undo()
        with _gate:
            _undo.remove(undo)


def end_now(status: int, tell: Callable[[], object] = lambda: None) -> None:
    """Undo what is half done and end the process; never returns.

    Parameters
    ----------
    status : int
        Exit status.
    tell : callable
        Says why, when all is undone.
    """
    late = threading.Timer(LIMIT_SECONDS, os._exit, [status])
    late.daemon = True
    late.start()
    _gate.acquire()  # for good
    for undo in reversed(list(_undo)):
        with suppress(Exception):
            undo()
    with suppress(Exception):  # nobody may read it any more
        tell()
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    os._exit(status)


@contextmanager
def ending_on_signals(tell: Callable[[int], object]) -> Iterator[None]:
    """While the block runs, Ctrl-C, SIGTERM and a terminal that closes end the process at once.

    A thread takes the signals, because the main one may be inside of TensorFlow for long. Signals that are ignored
    (``nohup``) stay so. Process 1 of a container, whose signals do nothing unless asked for, obeys as well.

    Parameters
    ----------
    tell : callable
        Takes the signal's number and says what happened.
    """
    if threading.current_thread() is not threading.main_thread():  # only that one may ask for signals
        yield
        return
    former = {number: signal.getsignal(number) for number in SIGNALS}
    writing = _end_on_signals(tell)
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        _instead.clear()
        for number, handler in former.items():
            signal.signal(number, handler)
        os.close(writing)


def _end_on_signals(tell: Callable[[int], object]) -> int:
    """Start the thread that takes the signals; it ends when the handle that is returned is closed."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    wanted = {number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN}
    threading.Thread(target=_take_signals, args=(reading, wanted, tell), name="signals", daemon=True).start()
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in wanted:
        signal.signal(number, _nothing)
    return writing


def _nothing(_number: int, _frame: object) -> None:
    """Stands for a signal that the thread takes; the default would end the process before it."""


def _take_signals(reading: int, wanted: set[int], tell: Callable[[int], object]) -> None:
    while got := os.read(reading, 1):
        number = got[0]
        if number in wanted:
            if _instead:
                _instead[-1]()
            else:
                end_now(exit_status(number), partial(tell, number))
    os.close(reading)


def on_signal(call: Callable[[], object]) -> None:
    """From now on a signal of `ending_on_signals` only calls a function, which sees to a slower end."""
    _instead.append(call)


def end_with_parent() -> None:
    """In a process that this package started: end when its parent is gone, however it went, and on SIGTERM.

    Ctrl-C and a closing terminal reach all processes at once; it is the parent that acts on them.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _end_on_signals(lambda _: None)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.join,), name="parent", daemon=True).start()


def _follow(wait_for_parent: Callable[[], object]) -> None:
    wait_for_parent()
    end_now(exit_status(signal.SIGTERM))


def _forget() -> None:
    """What the parent has half done, and the pipe of its signals, are not the child's."""
    _undo.clear()
    _instead.clear()
    if threading.current_thread() is threading.main_thread():
        with suppress(ValueError):
            signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            if signal.getsignal(number) is _nothing:
                signal.signal(number, signal.SIG_DFL)


os.register_at_fork(after_in_child=_forget)

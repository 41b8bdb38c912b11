"""Several processes that each do one thing at a time; one that dies costs the others nothing."""

from __future__ import annotations

import logging
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from bids_hypo.ending import end_with_parent, exit_status, undone_at_end, unless_ending
from bids_hypo.untrusted import log_on_one_line

_END_SECONDS = 3.0  # for a process to undo what it has half done


@dataclass(frozen=True)
class Died:
    """What there is in place of a result when the process died.

    Attributes
    ----------
    how : str
        Its signal or exit status, and what that often means.
    """

    how: str


@dataclass(eq=False)
class _Worker:
    """A process, the pipe to it, and what it is working on."""

    process: SpawnProcess
    pipe: Connection
    item: Any = None


def in_processes(call: Callable[[Any], Any], items: Sequence[Any], n_procs: int) -> Iterator[tuple[Any, Any]]:
    """Call a function for each of several items, in processes of their own, which end with this one.

    When a process dies (killed, out of memory, a crash in a library) the others go on, and a new one takes its place.

    Parameters
    ----------
    call : callable
        Can be sent to another process, as the items can.
    items : sequence
    n_procs : int
        Processes at a time.

    Yields
    ------
    item, result or Died
        As they finish. When the generator is closed early, what is being done is waited for, and the rest is left.

    Raises
    ------
    Exception
        What the function raises.
    """
    waiting = deque(items)
    workers: list[_Worker] = []
    with undone_at_end(partial(_terminate, workers)):
        try:
            while waiting or workers:
                while waiting and len(workers) < n_procs:
                    _give(_start(call, workers), waiting.popleft())
                ready = wait([worker.pipe for worker in workers])
                for worker in [worker for worker in workers if worker.pipe in ready]:
                    item, answer = worker.item, _answer(worker)
                    if waiting and not isinstance(answer, Died):
                        _give(worker, waiting.popleft())
                    else:
                        workers.remove(worker)
                        _dismiss(worker)
                    yield item, answer
        finally:
            for worker in workers:
                _dismiss(worker)


def _start(call: Callable[[Any], Any], workers: list[_Worker]) -> _Worker:
    spawn = get_context("spawn")  # a fork of TensorFlow's threads would hang
    ours, theirs = spawn.Pipe()
    level = logging.getLogger().getEffectiveLevel()
    worker = _Worker(spawn.Process(target=_serve, args=(theirs, call, level), daemon=False), ours)
    with unless_ending(), theirs:  # our copy of their end is closed, so that ours tells when they are gone
        worker.process.start()
        workers.append(worker)
    return worker


def _give(worker: _Worker, item: object) -> None:
    worker.item = item
    with suppress(OSError):  # it is dead already: the answer says so
        worker.pipe.send(item)


def _answer(worker: _Worker) -> Any:
    """The result, or `Died`."""
    try:
        done, answer = worker.pipe.recv()
    except (EOFError, OSError):
        with unless_ending():  # not before us, in the same end
            worker.process.join(_END_SECONDS)
            return Died(_how(worker.process.exitcode))
    if not done:
        raise answer
    return answer


def _how(exit_code: int | None) -> str:
    number = 0 if exit_code is None else -exit_code if exit_code < 0 else exit_code - exit_status(0)
    name = next((known.name for known in signal.Signals if known == number), f"exit status {exit_code}")
    if number == signal.SIGKILL:
        return f"its process died ({name}), most likely because memory ran out; fewer --nprocs, or --mem, need less"
    return f"its process died ({name})"


def _dismiss(worker: _Worker) -> None:
    """Let a process end when it has done what it is doing."""
    worker.pipe.close()
    worker.process.join()


def _terminate(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.process.terminate()
    until = time.monotonic() + _END_SECONDS
    for worker in workers:
        worker.process.join(max(0.0, until - time.monotonic()))
        worker.process.kill()


def _serve(pipe: Connection, call: Callable[[Any], Any], level: int) -> None:
    """What the process does: answer each item with whether it went well, and the result or the error."""
    end_with_parent()
    logging.basicConfig(level=max(level, logging.WARNING))  # the main process tells of what goes well
    log_on_one_line()
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        try:
            answer = (True, call(item))
        except Exception as error:  # noqa: BLE001 - raised again where it was asked for
            error.add_note(f"In another process:\n{traceback.format_exc()}")
            answer = (False, error)
        try:
            pipe.send(answer)
        except OSError:  # nobody wants it any more
            return

"""A network shared by the threads of a process: their slices go through it in common batches."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

logger = logging.getLogger(__name__)

Call = Callable[[np.ndarray], np.ndarray]


@dataclass(eq=False)
class _Request:
    """What one caller wants: ``n_open`` of its slices are not done yet."""

    x: np.ndarray
    out: np.ndarray
    n_open: int
    error: Exception | None = None


class SharedNetwork:
    """A network that several threads may call at the same time.

    Slices wait in one queue. Whoever waits for slices runs the next batch from it, which may hold slices of several
    callers: while one scan is read or written, the slices of another fill the batches. Batches are padded to one size,
    so that what comes out for a slice does not depend on its neighbours in the batch.

    A batch that does not fit into memory is tried again with half as many slices, down to one, and then on the CPU.

    Parameters
    ----------
    make_call : callable
        ``make_call(on_cpu)`` gives a function (N, H, W, C) to (N, H, W, K) that raises `MemoryError` when it runs out
        of memory.
    batch_size : int
        Slices at a time.
    n_classes : int
        K.
    name : str
        Named in messages.
    on_cpu : bool
        Start on the CPU.
    n_lanes : int
        Batches that may be worked on at the same time.

    Attributes
    ----------
    fallbacks : tuple of str
        What had to be given up for want of memory.
    """

    def __init__(
        self, make_call: Callable[[bool], Call], *, batch_size: int, n_classes: int, name: str, on_cpu: bool = False,
        n_lanes: int = 1,
    ) -> None:  # fmt: skip
        self._make_call = make_call
        self._call = make_call(on_cpu)
        self._on_cpu = on_cpu
        self._batch_size = batch_size
        self._n_classes = n_classes
        self._name = name
        self._waiting: deque[tuple[_Request, int]] = deque()
        self._free_lanes = n_lanes
        self._changed = threading.Condition()
        self.fallbacks: tuple[str, ...] = ()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Class probabilities of slices.

        Parameters
        ----------
        x : (N, H, W, C) float32

        Returns
        -------
        (N, H, W, K) float32
        """
        request = _Request(x, np.empty((*x.shape[:3], self._n_classes), np.float32), len(x))
        with self._changed:
            self._waiting.extend([(request, index) for index in range(len(x))])
        while batch := self._turn(request):
            try:
                self._run(batch)
            finally:
                with self._changed:
                    self._free_lanes += 1
                    self._changed.notify_all()
        if request.error is not None:
            raise request.error
        return request.out

    def _turn(self, request: _Request) -> list[tuple[_Request, int]]:
        """Wait for a batch to run, or for the request to be done: then there is none."""
        with self._changed:
            while request.n_open and request.error is None:
                if self._free_lanes and (batch := self._next_batch()):
                    self._free_lanes -= 1
                    return batch
                self._changed.wait()
        return []

    def _next_batch(self) -> list[tuple[_Request, int]]:
        """Slices of one size from the front of the queue; those of a caller that has failed are dropped."""
        batch: list[tuple[_Request, int]] = []
        while self._waiting and len(batch) < self._batch_size:
            request, index = self._waiting[0]
            if batch and request.x.shape[1:] != batch[0][0].x.shape[1:]:
                break
            self._waiting.popleft()
            if request.error is None:
                batch.append((request, index))
        return batch

    def _run(self, batch: list[tuple[_Request, int]]) -> None:
        try:
            found = self._in_memory(np.stack([request.x[index] for request, index in batch]))
            for (request, index), values in zip(batch, found, strict=True):
                request.out[index] = values
            with self._changed:  # another lane may have slices of the same request
                for request, _ in batch:
                    request.n_open -= 1
        except Exception as error:  # noqa: BLE001 - raised again by every caller that has slices in the batch
            for request, _ in batch:
                request.error = error

    def _in_memory(self, x: np.ndarray) -> np.ndarray:
        """Run slices, in smaller batches once memory has run out."""
        parts: list[np.ndarray] = []
        done = 0
        while done < len(x):
            call, size = self._call, self._batch_size
            part = x[done : done + size]
            short = size - len(part)
            try:
                found = call(np.pad(part, [(0, short), (0, 0), (0, 0), (0, 0)]) if short else part)
            except MemoryError:
                with self._changed:
                    if (call, size) == (self._call, self._batch_size):  # otherwise another lane has given way already
                        self._give_way()
                continue
            parts.append(found[: len(part)])
            done += len(part)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _give_way(self) -> None:
        if self._batch_size > 1:
            self._batch_size //= 2
            what = f"{self._name}: batch of {self._batch_size} slices, for want of memory"
            self.fallbacks = (*(f for f in self.fallbacks if "batch of" not in f), what)
        elif not self._on_cpu:
            self._on_cpu = True
            self._call = self._make_call(True)
            what = f"{self._name}: on the CPU, for want of memory"
            self.fallbacks = (*self.fallbacks, what)
        else:
            raise MemoryError(f"{self._name}: not even one slice fits into memory; free some, or close other programs.")
        logger.warning("%s", what)

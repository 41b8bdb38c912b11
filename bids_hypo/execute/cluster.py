"""Work on a Dask cluster (extra ``[cluster]``); scans and results must be on a file system that all can reach."""

from __future__ import annotations

import logging
import queue
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from secrets import token_hex
from typing import Any

from bids_hypo.bids.query import Scan
from bids_hypo.ending import undone_at_end
from bids_hypo.errors import UsageError
from bids_hypo.execute.cluster_jobs import QUEUES, job_cluster
from bids_hypo.execute.cluster_worker import Attempt, Expected, attempt, expectation, why_unfit
from bids_hypo.execute.worker import record_failure, remove_half_written
from bids_hypo.workflow.options import RunOptions
from bids_hypo.workflow.result import ScanResult

logger = logging.getLogger(__name__)

RETRIES = 2  # of a scan whose failure may be gone at the next try
CONNECT_SECONDS = 30
POLL_SECONDS = 2.0
NO_WORKER_SECONDS = 600.0  # a cluster without any worker for so long is given up; jobs in a queue are waited for
_WAITING_NOTE_SECONDS = 60.0


def run_on_cluster(todo: Sequence[Scan], options: RunOptions) -> Iterator[ScanResult]:
    """Process scans on the workers of a Dask scheduler, one scan at a time on each worker process.

    A scan whose worker dies is tried elsewhere, as often as the scheduler allows (``allowed-failures``) and until it
    has been begun more than `RETRIES` times; one that only waited on a worker that died is not blamed. A scan that
    meets an error of the machine (memory, input and output) is tried again up to `RETRIES` times, on other workers if
    there are any. One that fails because of its data is not. What fails for good is recorded as failed.

    Parameters
    ----------
    todo : sequence of Scan
    options : RunOptions
        ``scheduler`` is an address, such as ``tcp://host:8786``, a scheduler file (``.json``), or ``slurm``, ``pbs``
        or ``sge`` with ``scheduler_config``.

    Yields
    ------
    ScanResult
        Once for each scan. When the generator is closed early, what waits is cancelled.

    Raises
    ------
    UsageError
        If Dask is not installed, the scheduler cannot be reached, or its workers cannot do the work: another
        environment, or no sight of the dataset or the output folder.
    """
    patience = None if options.scheduler in QUEUES else NO_WORKER_SECONDS
    with _connected(options) as client, expectation(options.bids_dir, options.output_dir) as expected:
        _warn_if_open(client.scheduler_info()["address"])
        _check_workers(client, expected)
        yield from _HandOut(client, todo, options, expected, patience).results()


@contextmanager
def _connected(options: RunOptions) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError("--scheduler needs Dask: pip install 'bids_hypo[cluster]'.") from error
    place = str(options.scheduler)
    if place in QUEUES:
        with job_cluster(place, options.scheduler_config) as cluster, Client(cluster) as client:
            yield client
        return
    if options.scheduler_config is not None:
        raise UsageError(f"--scheduler-config describes jobs of {', '.join(QUEUES)}; --scheduler {place} is none.")
    of_file = Path(place).suffix == ".json"
    if of_file and not Path(place).is_file():  # Dask would wait for it without end
        raise UsageError(f"--scheduler {place}: there is no such file; expected one that dask scheduler has written.")
    how = {"scheduler_file": place} if of_file else {"address": place}
    if not of_file and "://" not in place:
        raise UsageError(
            f"--scheduler {place}: expected tcp://HOST:PORT, tls://HOST:PORT, a scheduler file or {', '.join(QUEUES)}."
        )
    try:
        client = Client(**how, timeout=CONNECT_SECONDS)
    except (OSError, ValueError, TypeError) as error:  # TypeError: tls:// without certificates in Dask's configuration
        raise UsageError(
            f"--scheduler {place}: no Dask scheduler answers there ({error}); expected an address such as "
            "tcp://host:8786, or tls://host:8786 and certificates in Dask's configuration."
        ) from error
    with client:
        yield client


def _warn_if_open(address: str) -> None:
    """Warn of a scheduler that other machines can reach without a certificate: it runs whatever code it is sent."""
    from distributed.comm import get_address_host, parse_address

    protocol, _ = parse_address(address)
    if protocol in ("tcp", "ws") and not _is_loopback(get_address_host(address)):
        logger.warning(
            "the Dask scheduler at %s asks nobody for a certificate: whoever reaches it, or a worker, can run programs "
            "as you. Where others share the network, use TLS (tls://, see docs/howto/clusters.md).",
            address,
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_workers(client: Any, expected: Expected) -> None:
    """Ask the workers that are there now; those that come later are asked with their first scan."""
    try:
        answers = client.run(why_unfit, expected, on_error="return")
    except Exception as error:
        raise UsageError(
            f"the workers cannot run bids_hypo ({type(error).__name__}: {error}). Start them from the environment that "
            "bids_hypo is installed in."
        ) from error
    problems = {address: answer for address, answer in answers.items() if answer is not None}
    if problems:
        address, first = next(iter(problems.items()))
        more = f" So do {len(problems) - 1} more." if len(problems) > 1 else ""
        raise UsageError(f"{first} ({address}){more}")


@dataclass(frozen=True)
class _Waiting:
    """A scan to hand out, with what went wrong at it so far and where."""

    scan: Scan
    problems: tuple[str, ...] = ()
    avoid: frozenset[str] = frozenset()


class _HandOut:
    """Scans handed out to workers, no more at a time than there are worker processes.

    Handing out few at a time keeps a scan from being blamed for the death of a worker that it only waited on, and a
    worker of several threads from gathering scans that others could do.
    """

    def __init__(
        self, client: Any, todo: Sequence[Scan], options: RunOptions, expected: Expected, patience: float | None
    ) -> None:
        self.client, self.options, self.expected = client, options, expected
        self.patience_seconds = patience
        self.waiting = deque(_Waiting(scan) for scan in todo)
        self.running: dict[Any, _Waiting] = {}
        self.ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.unfit: dict[str, str] = {}
        self.last_worker_seen = self.last_note = time.monotonic()

    def results(self) -> Iterator[ScanResult]:
        """Hand out and collect until every scan has its result."""
        with undone_at_end(self._cancel):
            try:
                yield from self._collected()
            finally:
                self._cancel()

    def _cancel(self) -> None:
        if self.running and self.client.status == "running":
            self.client.cancel(list(self.running))

    def _collected(self) -> Iterator[ScanResult]:
        while self.waiting or self.running:
            workers = self._workers()
            if workers is None:
                yield from self._give_up("the connection to the Dask scheduler was lost")
                return
            if self._too_long_without(workers):
                yield from self._give_up(f"the cluster had no worker for {self.patience_seconds:g} s")
                return
            self._submit(workers)
            result = self._next_result()
            if result is not None:
                yield result

    def _workers(self) -> list[str] | None:
        """Addresses of the workers that may be used; None without a scheduler."""
        try:
            there = list(self.client.nthreads())
        except (OSError, TimeoutError, RuntimeError, ValueError) as error:
            logger.debug("no answer from the scheduler: %s", error)
            return None
        fit = [address for address in there if address not in self.unfit]
        if there and not fit:
            raise UsageError(f"no worker of the cluster can be used. {self.unfit[there[0]]}")
        return fit

    def _too_long_without(self, workers: Sequence[str]) -> bool:
        now = time.monotonic()
        if workers:
            self.last_worker_seen = now
        elif now - max(self.last_worker_seen, self.last_note) > _WAITING_NOTE_SECONDS:
            logger.warning("waiting for workers: there is none now (for jobs, look at the queue and at their logs)")
            self.last_note = now
        return self.patience_seconds is not None and now - self.last_worker_seen > self.patience_seconds

    def _submit(self, workers: Sequence[str]) -> None:
        while self.waiting and len(self.running) < len(workers):
            item = self.waiting.popleft()
            where: dict[str, Any] = {}
            if item.avoid or self.unfit:  # a wish: a worker that is the only one left is taken all the same
                others = [address for address in workers if address not in item.avoid]
                where = {"workers": others or list(workers), "allow_other_workers": True}
            future = self.client.submit(
                attempt, item.scan, self.options, self.expected, key=f"{item.scan.name}-{token_hex(4)}", **where
            )
            self.running[future] = item
            future.add_done_callback(self.ended.put)

    def _next_result(self) -> ScanResult | None:
        """Wait a little for a try to end; a result if a scan is done or failed for good."""
        try:
            future = self.ended.get(timeout=POLL_SECONDS)
        except queue.Empty:
            return None
        item = self.running.pop(future, None)
        if item is None:  # told twice
            return None
        if future.status == "finished":
            try:
                tried = future.result()
            except Exception as lost:  # noqa: BLE001 - the worker or the scheduler went before it was fetched
                return self._again(item, f"its result was lost ({type(lost).__name__}: {lost})", None)
            return self._after(item, tried)
        error = future.exception() if future.status == "error" else None
        if type(error).__name__ == "KilledWorker":
            remove_half_written(item.scan, self.options)
            died = "its worker died again and again (out of memory, or out of time?)"
            if self.expected.n_starts(item.scan) > RETRIES:
                return self._failed(item, died)
            return self._again(item, died, None)  # Dask also counts deaths of workers on which it only waited
        if error is None:
            return self._again(item, f"lost by the cluster ({future.status})", None)
        return self._again(item, f"{type(error).__name__}: {error}", None)

    def _after(self, item: _Waiting, tried: Attempt) -> ScanResult | None:
        if tried.result is not None:
            return tried.result
        if tried.unfit is not None:
            logger.error("%s (%s) It is not used any more.", tried.unfit, tried.worker)
            self.unfit[tried.worker] = tried.unfit
            self.waiting.appendleft(item)
            return None
        return self._again(item, str(tried.problem), tried.worker)

    def _again(self, item: _Waiting, problem: str, worker: str | None) -> ScanResult | None:
        problems = (*item.problems, problem)
        if len(problems) > RETRIES:
            first = f"failed {len(problems)} times; last: {problem.splitlines()[0]}"
            return self._failed(item, "\n\n".join([first, *problems]))
        logger.warning("%s: %s; it is tried again", item.scan.name, problem.splitlines()[0])
        avoid = item.avoid if worker is None else item.avoid | {worker}
        self.waiting.append(_Waiting(item.scan, problems, avoid))
        return None

    def _failed(self, item: _Waiting, why: str) -> ScanResult:
        return record_failure(item.scan, self.options.output_dir, f"{item.scan.path}: {why}")

    def _give_up(self, why: str) -> Iterator[ScanResult]:
        for item in [*self.running.values(), *self.waiting]:
            yield self._failed(item, f"{why}. Run the same command again to go on.")

"""Work in this process, or in several processes of this machine."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from bids_hypo.bids.query import Scan
from bids_hypo.execute.worker import record_failure, work
from bids_hypo.workflow.options import RunOptions
from bids_hypo.workflow.participant import ScanResult

logger = logging.getLogger(__name__)

MEMORY_PER_PROCESS_GB = 2.5


def run_here(todo: Sequence[Scan], options: RunOptions) -> Iterator[ScanResult]:
    """Process scans, several at a time as far as ``--nprocs`` and ``--mem`` allow."""
    n_procs = min(options.n_procs, len(todo))
    if options.memory_gb is not None:
        n_procs = min(n_procs, int(options.memory_gb // MEMORY_PER_PROCESS_GB))
    if n_procs > 1:
        yield from _in_processes(todo, options, n_procs)
    else:
        for scan in todo:
            yield work(scan, options)


def _in_processes(todo: Sequence[Scan], options: RunOptions, n_procs: int) -> Iterator[ScanResult]:
    """Share scans among processes; one that dies (out of memory, killed) costs its scan, not the run."""
    waiting = list(todo)
    while waiting:
        broken = []
        with ProcessPoolExecutor(n_procs, mp_context=get_context("spawn")) as pool:
            futures = {pool.submit(work, scan, options): scan for scan in waiting}
            for future in as_completed(futures):
                try:
                    yield future.result()
                except BrokenProcessPool:
                    broken.append(futures[future])
        if not broken:
            return
        if n_procs > 1:  # all unfinished scans are in doubt: one at a time from here, so that the culprit stands alone
            logger.warning("a worker process died; going on with one process for %d scans", len(broken))
            n_procs, waiting = 1, broken
        else:
            text = f"{broken[0].path}: the worker process died while processing it (out of memory?)."
            yield record_failure(broken[0], options.output_dir, text)
            waiting = broken[1:]

"""Work in this process, several scans overlapping, or in several processes of this machine."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from functools import partial

from bids_hypo.bids.query import Scan
from bids_hypo.execute.processes import Died, in_processes
from bids_hypo.execute.worker import models_for, record_failure, remove_half_written, work
from bids_hypo.image.limits import limit_for
from bids_hypo.models.device import has_gpu_driver, n_cores, parse_device
from bids_hypo.workflow.options import RunOptions
from bids_hypo.workflow.result import ScanResult
from bids_hypo.workflow.stopwatch import Tell

logger = logging.getLogger(__name__)

MEMORY_PER_PROCESS_GB = 2.5
MEMORY_PER_SCAN_GB = 0.7  # beside the first, in the same process
OVERLAP = 2  # scans in work in one process


def run_here(todo: Sequence[Scan], options: RunOptions, *, tell: Tell | None = None) -> Iterator[ScanResult]:
    """Process scans, several at a time as far as ``--nprocs`` and ``--mem`` allow.

    On the CPU ``--nprocs`` is the number of processes. A GPU has one process and one TensorFlow, which the scans in
    work share. A listener (`tell`) hears of the stages of scans that this process works on.
    """
    n_procs = min(options.n_procs, len(todo))
    if n_procs > 1 and may_have_gpu(options):
        shared = replace(options, overlap=_affordable(n_procs, options))
        if models_for(shared).device != "cpu":
            yield from overlapping(todo, shared, tell=tell)
            return
    n_procs, overlap = at_a_time(len(todo), options)
    if n_procs > 1:
        yield from _in_processes(todo, options, n_procs)
    else:
        yield from overlapping(todo, replace(options, overlap=overlap), tell=tell)


def at_a_time(n_scans: int, options: RunOptions) -> tuple[int, int]:
    """How many processes work on the CPU for so many scans, and how many scans are in work in each."""
    n_procs = min(options.n_procs, n_scans)
    if options.memory_gb is not None:
        n_procs = min(n_procs, int(options.memory_gb // MEMORY_PER_PROCESS_GB))
    return (n_procs, 1) if n_procs > 1 else (1, _affordable(min(OVERLAP, n_scans), options))


def may_have_gpu(options: RunOptions) -> bool:
    """False if it is known without TensorFlow, which only the worker processes should load."""
    return parse_device(options.device).kind != "cpu" and has_gpu_driver()


def _affordable(n_scans: int, options: RunOptions) -> int:
    if options.memory_gb is None:
        return n_scans
    return max(min(n_scans, 1 + int((options.memory_gb - MEMORY_PER_PROCESS_GB) // MEMORY_PER_SCAN_GB)), 1)


def overlapping(todo: Sequence[Scan], options: RunOptions, *, tell: Tell | None = None) -> Iterator[ScanResult]:
    """Process scans in threads that share the networks.

    Parameters
    ----------
    todo : sequence of Scan
    options : RunOptions
        ``overlap`` scans are in work at a time; 1 is one scan after the other.
    tell : callable, optional
        Called with the name of each stage that begins.

    Yields
    ------
    ScanResult
        As they finish.
    """
    options = replace(options, voxel_limit=limit_for(options.memory_gb, n_scans=options.overlap))
    models_for(options)  # here, not in a thread: an unusable device or model ends the run, not each scan
    do = work if tell is None else partial(work, tell=tell)
    with ThreadPoolExecutor(options.overlap, thread_name_prefix="scan") as pool:
        futures = [pool.submit(do, scan, options) for scan in todo]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:  # stopped at the first failure, or interrupted: what has not begun is left
            for future in futures:
                future.cancel()


def _in_processes(todo: Sequence[Scan], options: RunOptions, n_procs: int) -> Iterator[ScanResult]:
    """Share scans among processes; one that dies (out of memory, killed) costs its scan, not the run.

    Such a scan is done once more at the end, alone: another one may have taken the memory, and those that kill whatever
    works on them hold up nobody.
    """
    if options.omp_nthreads is None:  # otherwise each TensorFlow would take all cores
        options = replace(options, omp_nthreads=max(1, n_cores() // n_procs))
    options = replace(options, voxel_limit=limit_for(options.memory_gb, n_processes=n_procs))
    do = partial(work, options=options)
    in_doubt = []
    for scan, result in in_processes(do, todo, n_procs):
        if isinstance(result, Died):
            logger.warning("%s: %s. It is done once more at the end, alone.", scan.path, result.how)
            in_doubt.append(scan)
        else:
            yield result
    for scan, result in in_processes(do, in_doubt, 1):
        if isinstance(result, Died):
            remove_half_written(scan, options)
            text = f"{scan.path}: {result.how}. It did so twice, the second time with no other scan beside."
            yield record_failure(scan, options.output_dir, text)
        else:
            yield result

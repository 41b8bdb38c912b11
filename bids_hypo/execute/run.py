"""A participant-level run: plan, process every scan, go on after failures, sum up."""

from __future__ import annotations

import logging
import shutil
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from bids_hypo import __version__
from bids_hypo.bids.dataset import clear_crash, prepare_output, write_crash
from bids_hypo.bids.names import OutputNames, output_names
from bids_hypo.bids.query import MissingScan, Scan, check_dataset, find_scans
from bids_hypo.bids.resume import outputs_complete
from bids_hypo.errors import BidsHypoError, ExitCode
from bids_hypo.models.bundle import ModelBundle
from bids_hypo.models.catalog import ANATOMY, HYPOTHALAMUS, find_bundle
from bids_hypo.models.device import parse_device
from bids_hypo.workflow.options import RunOptions
from bids_hypo.workflow.participant import Models, ScanResult, process_scan
from bids_hypo.workflow.reports import redraw
from bids_hypo.workflow.summary import read_result

logger = logging.getLogger(__name__)

MEMORY_PER_PROCESS_GB = 2.5


@dataclass(frozen=True)
class Plan:
    """What a run is going to do.

    Attributes
    ----------
    todo, kept : tuple of Scan
        Scans to process; scans whose outputs are complete.
    missing : tuple of MissingScan
        Subjects that were asked for and have no T1w image.
    """

    todo: tuple[Scan, ...]
    kept: tuple[Scan, ...]
    missing: tuple[MissingScan, ...]


def run_participant(options: RunOptions) -> tuple[ExitCode, list[ScanResult]]:
    """Run the participant level.

    Parameters
    ----------
    options : RunOptions

    Returns
    -------
    exit_code : ExitCode
        0 all done, 1 some scans failed.
    results : list of ScanResult
        One for each scan, in the order of their names.

    Raises
    ------
    BidsHypoError
        For what concerns the whole run (input, output, models, device).
    """
    parse_device(options.device)
    check_dataset(options.bids_dir, validate=not options.skip_bids_validation)
    scans, missing = find_scans(options.bids_dir, options.selection, database_dir=options.database_dir)
    bundles = (find_bundle(ANATOMY, options.models_dir), find_bundle(HYPOTHALAMUS, options.models_dir))
    plan = make_plan(scans, missing, bundles, options)
    if options.dry_run:
        return ExitCode.OK, [ScanResult(s.name, "kept") for s in plan.kept] + [
            ScanResult(s.name, "to do") for s in plan.todo
        ]
    prepare_output(options.output_dir, options.bids_dir, command_version=__version__)
    results = [_record_missing(m, options.output_dir) for m in plan.missing]
    if options.reports_only:
        results += [redraw(s, output_names(s, options.output_dir)) for s in plan.kept]
        results += [
            ScanResult(
                s.name, "failed", error=f"{s.name}: no complete outputs to draw from; run without --reports-only."
            )
            for s in plan.todo
        ]
    else:
        results += [read_result(output_names(s, options.output_dir)) for s in plan.kept]
        if plan.todo:
            results += _process_all(plan.todo, bundles, options)
    results.sort(key=lambda r: r.name)
    failed = any(r.status == "failed" for r in results)
    return (ExitCode.SCANS_FAILED if failed else ExitCode.OK), results


def make_plan(
    scans: list[Scan], missing: list[MissingScan], bundles: tuple[ModelBundle, ...], options: RunOptions
) -> Plan:
    """Divide scans into those to process and those whose outputs are complete and made with the same models."""
    digests = [b.weights_sha256 for b in bundles]
    todo, kept = [], []
    for scan in scans:
        names = output_names(scan, options.output_dir)
        if not options.overwrite and _complete_or_adopted(scan, names, digests, options):
            kept.append(scan)
        else:
            todo.append(scan)
    return Plan(tuple(todo), tuple(kept), tuple(missing))


def _complete_or_adopted(scan: Scan, names: OutputNames, digests: list[str], options: RunOptions) -> bool:
    if outputs_complete(names, digests, settings=options.settings):
        return True
    for folder in options.derivatives:
        former = output_names(scan, folder)
        if outputs_complete(former, digests, settings=options.settings):
            if not options.dry_run:
                for source, target in zip(former.files, names.files, strict=True):
                    if source.is_file():
                        target.parent.mkdir(parents=True, exist_ok=True)
                        shutil.copyfile(source, target)
                logger.info("%s: taken over from %s", scan.name, folder)
            return True
    return False


def _record_missing(missing: MissingScan, output_dir: Path) -> ScanResult:
    write_crash(output_dir, missing, missing.reason)
    return ScanResult(missing.name, "failed", error=missing.reason)


def _process_all(todo: tuple[Scan, ...], bundles: tuple[ModelBundle, ...], options: RunOptions) -> list[ScanResult]:
    n_procs = max(1, min(options.n_procs, len(todo)))
    if options.memory_gb is not None:
        n_procs = max(1, min(n_procs, int(options.memory_gb // MEMORY_PER_PROCESS_GB)))
    source = _in_this_process(todo, options) if n_procs == 1 else _in_processes(todo, options, n_procs)
    results = []
    with tqdm(total=len(todo), unit="scan", desc="scans", dynamic_ncols=True) as bar:
        for result in source:
            results.append(result)
            bar.update()
            bar.set_postfix_str(f"{result.name} {result.status}")
            if result.status == "failed" and options.stop_on_first_crash:
                logger.error("stopped at the first failure (--stop-on-first-crash)")
                break
    return results


def _in_this_process(todo: tuple[Scan, ...], options: RunOptions) -> Iterator[ScanResult]:
    models = load_models(options)
    for scan in todo:
        yield process_or_record(scan, options, models)


_models: Models | None = None


def _start_worker(options: RunOptions) -> None:
    global _models  # the networks are loaded once per worker process
    logging.basicConfig(level=logging.WARNING)
    _models = load_models(options)


def _work(scan: Scan, options: RunOptions) -> ScanResult:
    assert _models is not None
    return process_or_record(scan, options, _models)


def _in_processes(todo: tuple[Scan, ...], options: RunOptions, n_procs: int) -> Iterator[ScanResult]:
    """Share scans among processes; one that dies (out of memory, killed) costs its scan, not the run."""
    waiting = list(todo)
    while waiting:
        with ProcessPoolExecutor(
            n_procs, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(options,)
        ) as pool:
            futures = {pool.submit(_work, scan, options): scan for scan in waiting}
            broken = []
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
            culprit = broken[0]
            text = f"{culprit.path}: the worker process died while processing it (out of memory?)."
            write_crash(options.output_dir, culprit, text)
            yield ScanResult(culprit.name, "failed", error=text)
            waiting = broken[1:]


def load_models(options: RunOptions) -> Models:
    """Choose the device and load the networks; TensorFlow is imported here and nowhere earlier."""
    from bids_hypo.models.network import configure_device, load_network

    device = configure_device(parse_device(options.device), options.omp_nthreads)
    logger.info("device: %s", device)
    anatomy, hypothalamus = (find_bundle(n, options.models_dir) for n in (ANATOMY, HYPOTHALAMUS))
    return Models(
        anatomy,
        hypothalamus,
        load_network(anatomy, batch_size=options.batch_size),
        load_network(hypothalamus, batch_size=options.batch_size),
        device,
    )


def process_or_record(scan: Scan, options: RunOptions, models: Models) -> ScanResult:
    """Process a scan; a failure becomes a record and a crash file, never the end of the run."""
    names = output_names(scan, options.output_dir)
    try:
        result = process_scan(scan, names, models, fast=options.fast, settings=options.settings)
    except BidsHypoError as error:
        text = str(error)
    except Exception as error:  # noqa: BLE001 - one scan, whatever it does, must not end the others
        text = f"{scan.path}: unexpected {type(error).__name__}: {error}\n\n{traceback.format_exc()}"
    else:
        clear_crash(options.output_dir, scan)
        return result
    path = write_crash(options.output_dir, scan, text)
    logger.error("%s (details: %s)", text.splitlines()[0], path)
    return ScanResult(scan.name, "failed", error=text.splitlines()[0])


def summary_table(results: list[ScanResult]) -> pd.DataFrame:
    """One row a scan, for the terminal."""
    return pd.DataFrame(
        {
            "scan": [r.name for r in results],
            "status": [r.status for r in results],
            "left_mm3": [r.left_mm3 for r in results],
            "right_mm3": [r.right_mm3 for r in results],
            "ICV_cm3": [None if r.icv_mm3 is None else r.icv_mm3 / 1000 for r in results],
            "flags": [";".join(r.flags) for r in results],
            "s": [sum(r.seconds.values()) or None for r in results],
        }
    )

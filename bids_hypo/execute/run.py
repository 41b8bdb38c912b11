"""A participant-level run: plan, process every scan, go on after failures, sum up."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from bids_hypo import __version__
from bids_hypo.bids.claims import clear_left_over
from bids_hypo.bids.dataset import check_output, prepare_output, write_crash
from bids_hypo.bids.entities import shorten
from bids_hypo.bids.names import OutputNames, output_names
from bids_hypo.bids.query import MissingScan, Scan, check_dataset, find_scans
from bids_hypo.bids.resume import (
    LINKS,
    NOT_DONE,
    RESULTS,
    SOURCE,
    Doubt,
    find_doubt,
    find_link_out,
    refresh_source_times,
    take_over,
)
from bids_hypo.errors import BidsHypoError, ExitCode
from bids_hypo.execute.cluster import run_on_cluster
from bids_hypo.execute.local import at_a_time, run_here
from bids_hypo.execute.worker import record_failure
from bids_hypo.files import DAMAGED
from bids_hypo.image.limits import limit_for, set_voxel_limit
from bids_hypo.image.volume import check_scan
from bids_hypo.models.bundle import ModelBundle
from bids_hypo.models.catalog import find_bundles
from bids_hypo.models.device import parse_device
from bids_hypo.workflow.options import RunOptions
from bids_hypo.workflow.participant import ScanResult
from bids_hypo.workflow.summary import read_result

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What a run is going to do.

    Attributes
    ----------
    todo, kept : tuple of Scan
        Scans to process; scans whose outputs are complete.
    adopted : tuple of (OutputNames, OutputNames)
        Of the kept ones, those complete in a folder of ``--derivatives`` only: there, and where they go.
    missing : tuple of MissingScan
        Subjects that were asked for and have no image to measure.
    doubts : dict of str to Doubt
        By the name of a scan to process, why; of all, unless they are done again on request.
    """

    todo: tuple[Scan, ...]
    kept: tuple[Scan, ...]
    adopted: tuple[tuple[OutputNames, OutputNames], ...]
    missing: tuple[MissingScan, ...]
    doubts: dict[str, Doubt]


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
    scans, missing = find_scans(
        options.bids_dir, options.selection, database_dir=options.database_dir, keep_index=not options.dry_run
    )
    bundles = tuple(find_bundles(options.models_dir).values())
    _warn_of_other_images(scans, bundles)
    plan = make_plan(scans, missing, bundles, options)
    if options.dry_run:
        check_output(options.output_dir, options.bids_dir)
        return ExitCode.OK, _announce(plan, options)
    prepare_output(options.output_dir, options.bids_dir, command_version=__version__)
    clear_left_over(options.output_dir, (output_names(scan, options.output_dir) for scan in scans))
    lost = _take_over_all(plan.adopted)
    for scan in plan.kept:
        refresh_source_times(output_names(scan, options.output_dir))
    results = [_record_missing(m, options.output_dir) for m in plan.missing]
    results += [lost.get(s.name) or _kept(s, options.output_dir) for s in plan.kept]
    if options.reports_only:
        results += [_not_drawn(s, plan.doubts[s.name]) for s in plan.todo]
    elif plan.todo:
        results += _process_all(plan.todo, options)
    from bids_hypo.execute.reporting import finish_reports  # seconds that --dry-run need not pay

    results = finish_reports(results, scans, options, bundles)
    results.sort(key=lambda r: r.name)
    failed = any(r.status == "failed" for r in results)
    return (ExitCode.SCANS_FAILED if failed else ExitCode.OK), results


def make_plan(
    scans: list[Scan], missing: list[MissingScan], bundles: tuple[ModelBundle, ...], options: RunOptions
) -> Plan:
    """Divide scans into those to process and those whose outputs are complete and made with the same models.

    What is done again is told, and why.
    """
    digests = [b.weights_sha256 for b in bundles]
    todo, kept, adopted = [], [], []
    doubts: dict[str, Doubt] = {}
    for scan in scans:
        names = output_names(scan, options.output_dir)
        places = [] if options.overwrite else [names, *(output_names(scan, folder) for folder in options.derivatives)]
        complete = None
        for place in places:
            doubt = None if place is names else find_link_out(place)
            doubt = doubt or find_doubt(place, digests, settings=options.settings)
            if doubt is None:
                complete = place
                break
            if place is names:
                doubts[scan.name] = doubt
            elif doubt.kind != NOT_DONE:
                logger.warning("%s: not taken over from %s: %s.", scan.name, place.output_dir, doubt.text)
        if complete is None:
            todo.append(scan)
            continue
        kept.append(scan)
        if complete is not names:
            adopted.append((complete, names))
    doubts = {scan.name: doubts[scan.name] for scan in todo if scan.name in doubts}
    if not options.reports_only:
        _tell(doubts)
    return Plan(tuple(todo), tuple(kept), tuple(adopted), tuple(missing), doubts)


def _announce(plan: Plan, options: RunOptions) -> list[ScanResult]:
    """What a dry run tells of each scan; of each file to be read it looks at the header."""
    if not options.scheduler:  # else other machines do the work, with memory of their own
        n_processes, n_scans = at_a_time(max(len(plan.todo), 1), options)
        set_voxel_limit(limit_for(options.memory_gb, n_processes=n_processes, n_scans=n_scans))
    try:
        foreseen = [_foreseen(scan) for scan in plan.todo]
    finally:
        set_voxel_limit(None)
    return [
        *(ScanResult(scan.name, "kept") for scan in plan.kept),
        *foreseen,
        *(ScanResult(missing.name, "missing", error=missing.reason) for missing in plan.missing),
    ]


def _foreseen(scan: Scan) -> ScanResult:
    try:
        check_scan(scan.path)
    except BidsHypoError as error:
        return ScanResult(scan.name, "will fail", error=str(error))
    return ScanResult(scan.name, "to do")


def _warn_of_other_images(scans: list[Scan], bundles: tuple[ModelBundle, ...]) -> None:
    for bundle in bundles:
        others = [scan.path for scan in scans if scan.suffix not in bundle.suffixes]
        if others:
            logger.warning(
                "%s: the model is for %s; %d image(s) of another kind are measured with it, such as %s. Look at the "
                "results.", bundle.folder, ", ".join(bundle.suffixes), len(others), others[0],
            )  # fmt: skip


def _tell(doubts: Mapping[str, Doubt]) -> None:
    """Say which scans are done again: one by one where something is wrong with them, else together."""
    together: dict[str, list[str]] = {}
    for name, doubt in doubts.items():
        logger.info("%s: to be done, %s.", name, doubt.text)
        if doubt.kind in (SOURCE, RESULTS, LINKS):
            logger.warning("%s is done again, %s: %s.", name, doubt.kind, doubt.text)
        elif doubt.kind != NOT_DONE:
            together.setdefault(doubt.kind, []).append(name)
    for kind, scans in together.items():
        logger.warning("%d scans are done again, they were %s: %s.", len(scans), kind, shorten(scans))


def _take_over_all(adopted: Iterable[tuple[OutputNames, OutputNames]]) -> dict[str, ScanResult]:
    """Copy what is complete in other folders; returns the failures, by the names of the scans."""
    failed = {}
    for former, names in adopted:
        try:
            take_over(former, names)
        except OSError as error:
            text = f"{names.scan.name}: cannot be taken over from {former.output_dir} ({error})."
            failed[names.scan.name] = record_failure(names.scan, names.output_dir, text)
    return failed


def _kept(scan: Scan, output_dir: Path) -> ScanResult:
    """What was written for a scan before; a table that cannot be read makes it a failed one."""
    names = output_names(scan, output_dir)
    try:
        return read_result(names)
    except (BidsHypoError, *DAMAGED) as error:
        return ScanResult(scan.name, "failed", error=f"{names.morph}: {error}. Give --overwrite to measure it again.")


def _not_drawn(scan: Scan, doubt: Doubt) -> ScanResult:
    text = f"{scan.name}: no complete outputs to draw from ({doubt.kind}: {doubt.text}); run without --reports-only."
    return ScanResult(scan.name, "failed", error=text)


def _record_missing(missing: MissingScan, output_dir: Path) -> ScanResult:
    write_crash(output_dir, missing, missing.reason)
    return ScanResult(missing.name, "failed", error=missing.reason)


def _process_all(todo: tuple[Scan, ...], options: RunOptions) -> list[ScanResult]:
    source = run_on_cluster(todo, options) if options.scheduler else run_here(todo, options)
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


def summary_table(results: list[ScanResult]) -> pd.DataFrame:
    """One row a scan, for the terminal; a column for reports only where one could not be made."""
    table = pd.DataFrame(
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
    if any(r.report_error for r in results):
        table["report"] = [f"not made: {r.report_error}" if r.report_error else "" for r in results]
    return table

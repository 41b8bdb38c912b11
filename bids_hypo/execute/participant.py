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
from bids_hypo.bids.entities import RAW_LINK, shorten
from bids_hypo.bids.names import OutputNames
from bids_hypo.bids.query import MissingScan, Scan, check_dataset, find_scans
from bids_hypo.bids.removal import take_over
from bids_hypo.bids.resume import (
    LINKS,
    NOT_DONE,
    RESULTS,
    SOURCE,
    Doubt,
    find_link_out,
    lost_by_taking_over,
    refresh_source_times,
)
from bids_hypo.bids.session_icv import sessions_without_t1
from bids_hypo.errors import BidsHypoError, ExitCode
from bids_hypo.execute.cluster import run_on_cluster
from bids_hypo.execute.local import at_a_time, run_here
from bids_hypo.execute.worker import names_for, record_failure, what_to_do
from bids_hypo.files import DAMAGED
from bids_hypo.image.limits import limit_for, set_voxel_limit
from bids_hypo.image.volume import check_scan
from bids_hypo.models.catalog import Catalog, find_models
from bids_hypo.models.device import parse_device
from bids_hypo.structures import ICV
from bids_hypo.workflow.options import RunOptions
from bids_hypo.workflow.result import ScanResult, Status, read_result
from bids_hypo.workflow.stopwatch import Tell

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
    doubts : dict of str to (dict of str to Doubt)
        By the name of a scan to process, what of it is to be measured and why; of all, unless they are done again on
        request.
    """

    todo: tuple[Scan, ...]
    kept: tuple[Scan, ...]
    adopted: tuple[tuple[OutputNames, OutputNames], ...]
    missing: tuple[MissingScan, ...]
    doubts: dict[str, dict[str, Doubt]]


def run_participant(options: RunOptions, *, tell: Tell | None = None) -> tuple[ExitCode, list[ScanResult]]:
    """Run the participant level.

    Parameters
    ----------
    options : RunOptions
    tell : callable, optional
        Called with the name of each stage of a scan that begins in this process.

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
    catalog = find_models(options.models_dir, options.structures)
    scans, missing = find_scans(
        options.bids_dir, options.selection, suffixes=catalog.suffixes, maps=options.maps,
        database_dir=options.database_dir, keep_index=not options.dry_run,
    )  # fmt: skip
    alone = sessions_without_t1(scans, options.bids_dir)
    if alone:
        logger.warning("%s", alone)
    plan = make_plan(scans, missing, catalog, options)
    if options.dry_run:
        check_output(options.output_dir, options.bids_dir)
        return ExitCode.OK, _announce(plan, options)
    _prepare(scans, options, catalog)
    results = _settled(plan, options, catalog)
    if options.reports_only:
        results += [_not_drawn(s, plan.doubts[s.name]) for s in plan.todo]
    elif plan.todo:
        results += _process_all(plan.todo, options, tell)
    from bids_hypo.execute.reporting import finish_reports  # seconds that --dry-run need not pay

    results = finish_reports(results, scans, options, catalog)
    results.sort(key=lambda r: r.name)
    failed = any(r.status == Status.FAILED for r in results)
    return (ExitCode.SCANS_FAILED if failed else ExitCode.OK), results


def _prepare(scans: list[Scan], options: RunOptions, catalog: Catalog) -> None:
    """Make the output folder and clear what ended runs left in it."""
    prepare_output(
        options.output_dir, options.bids_dir, command_version=__version__,
        parts=sorted(
            (part for bundle in catalog.structures.values() if bundle.structure for part in bundle.structure.parts),
            key=lambda part: part.index,
        ),
        maps={scan.link: scan.dataset_root for scan in scans if scan.link != RAW_LINK},
    )  # fmt: skip
    clear_left_over(options.output_dir, (names_for(scan, options.output_dir, catalog) for scan in scans))


def _settled(plan: Plan, options: RunOptions, catalog: Catalog) -> list[ScanResult]:
    """The results of everything that needs no work: missing subjects, scans that are complete or taken over."""
    lost = _take_over_all(plan.adopted)
    for scan in plan.kept:
        refresh_source_times(names_for(scan, options.output_dir, catalog))
    results = [_record_missing(m, options.output_dir) for m in plan.missing]
    return results + [lost.get(s.name) or _kept(names_for(s, options.output_dir, catalog)) for s in plan.kept]


def make_plan(scans: list[Scan], missing: list[MissingScan], catalog: Catalog, options: RunOptions) -> Plan:
    """Divide scans into those to process and those whose outputs are complete and made with the same models.

    What is done again is told, and why.
    """
    todo, kept, adopted = [], [], []
    doubts: dict[str, dict[str, Doubt]] = {}
    for scan in scans:
        names = names_for(scan, options.output_dir, catalog)
        own = {} if options.overwrite else what_to_do(names, catalog, options)
        former = _complete_elsewhere(scan, catalog, options) if own else None
        if options.overwrite or (own and former is None):
            todo.append(scan)
            if own:
                doubts[scan.name] = own
            continue
        kept.append(scan)
        if former is not None:
            adopted.append((former, names))
    if not options.reports_only:
        _tell(doubts)
    return Plan(tuple(todo), tuple(kept), tuple(adopted), tuple(missing), doubts)


def _complete_elsewhere(scan: Scan, catalog: Catalog, options: RunOptions) -> OutputNames | None:
    """Where else the results of a scan are complete, of the folders of ``--derivatives``."""
    for folder in options.derivatives:
        place = names_for(scan, folder, catalog)
        doubt = find_link_out(place)
        found = [doubt] if doubt else list(what_to_do(place, catalog, options).values())
        if not found:
            if not lost_by_taking_over(place, names_for(scan, options.output_dir, catalog)):
                return place
        elif found[0].kind != NOT_DONE:
            logger.warning("%s: not taken over from %s: %s.", scan.name, folder, found[0].text)
    return None


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
        *(ScanResult(scan.name, Status.KEPT) for scan in plan.kept),
        *foreseen,
        *(ScanResult(missing.name, Status.MISSING, error=missing.reason) for missing in plan.missing),
    ]


def _foreseen(scan: Scan) -> ScanResult:
    try:
        check_scan(scan.path)
    except BidsHypoError as error:
        return ScanResult(scan.name, Status.WILL_FAIL, error=str(error))
    return ScanResult(scan.name, Status.TO_DO)


def _tell(doubts: Mapping[str, Mapping[str, Doubt]]) -> None:
    """Say which scans are done again: one by one where something is wrong with them, else together."""
    together: dict[str, list[str]] = {}
    for name, of_items in doubts.items():
        for text, items in _by_text(of_items).items():
            logger.info("%s: %s to be done, %s.", name, ", ".join(items), text)
        for doubt in dict.fromkeys(of_items.values()):
            if doubt.kind in (SOURCE, RESULTS, LINKS):
                logger.warning("%s is done again, %s: %s.", name, doubt.kind, doubt.text)
        for kind in dict.fromkeys(doubt.kind for doubt in of_items.values()):
            if kind not in (SOURCE, RESULTS, LINKS, NOT_DONE):
                together.setdefault(kind, []).append(name)
    for kind, scans in together.items():
        logger.warning("%d scans are done again, they were %s: %s.", len(scans), kind, shorten(scans))


def _by_text(of_items: Mapping[str, Doubt]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item, doubt in of_items.items():
        found.setdefault(doubt.text, []).append(item)
    return found


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


def _kept(names: OutputNames) -> ScanResult:
    """What was written for a scan before; a table that cannot be read makes it a failed one."""
    try:
        return read_result(names)
    except (BidsHypoError, *DAMAGED) as error:
        text = f"{names.morph}: {error}. Give --overwrite to measure it again."
        return ScanResult(names.scan.name, Status.FAILED, error=text)


def _not_drawn(scan: Scan, doubts: Mapping[str, Doubt]) -> ScanResult:
    doubt = next(iter(doubts.values()))
    text = f"{scan.name}: no complete outputs to draw from ({doubt.kind}: {doubt.text}); run without --reports-only."
    return ScanResult(scan.name, Status.FAILED, error=text)


def _record_missing(missing: MissingScan, output_dir: Path) -> ScanResult:
    write_crash(output_dir, missing, missing.reason)
    return ScanResult(missing.name, Status.FAILED, error=missing.reason)


def _process_all(todo: tuple[Scan, ...], options: RunOptions, tell: Tell | None) -> list[ScanResult]:
    source = run_on_cluster(todo, options) if options.scheduler else run_here(todo, options, tell=tell)
    results = []
    with tqdm(total=len(todo), unit="scan", desc="scans", dynamic_ncols=True) as bar:
        for result in source:
            results.append(result)
            bar.update()
            bar.set_postfix_str(f"{result.name} {result.status}")
            if result.status == Status.FAILED and options.stop_on_first_crash:
                logger.error("stopped at the first failure (--stop-on-first-crash)")
                break
    return results


def summary_table(results: list[ScanResult]) -> pd.DataFrame:
    """One row a scan, for the terminal; a column for reports only where one could not be made."""
    measured = dict.fromkeys(name for r in results for name in r.volumes_mm3 if name != ICV)
    table = pd.DataFrame(
        {
            "scan": [r.name for r in results],
            "status": [str(r.status) for r in results],
            **{f"{name}_mm3": [r.volumes_mm3.get(name) for r in results] for name in measured},
            "ICV_cm3": [None if (icv := r.volumes_mm3.get(ICV)) is None else icv / 1000 for r in results],
            "flags": [";".join(r.flags) for r in results],
            "s": [sum(r.seconds.values()) or None for r in results],
        }
    )
    numbers = [*(f"{name}_mm3" for name in measured), "ICV_cm3", "s"]
    table[numbers] = table[numbers].astype(float)  # what is not known is shown as a dash, not as None
    if any(r.report_error for r in results):
        table["report"] = [f"not made: {r.report_error}" if r.report_error else "" for r in results]
    return table

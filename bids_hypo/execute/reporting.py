"""Reports at the end of a run: corrected masks taken in, ensembles made, missing figures drawn, pages written."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

from tqdm import tqdm

from bids_hypo.bids.names import OutputNames
from bids_hypo.bids.query import Scan
from bids_hypo.errors import BidsHypoError
from bids_hypo.execute.processes import Died, in_processes
from bids_hypo.execute.worker import names_for
from bids_hypo.files import DAMAGED
from bids_hypo.models.catalog import Catalog
from bids_hypo.workflow.edited import take_edited
from bids_hypo.workflow.ensemble import write_ensembles
from bids_hypo.workflow.options import RunOptions
from bids_hypo.workflow.reports import figures_missing_or_old, redraw, write_pages
from bids_hypo.workflow.result import ScanResult, Status, read_result

logger = logging.getLogger(__name__)


def finish_reports(
    results: Sequence[ScanResult], scans: Sequence[Scan], options: RunOptions, catalog: Catalog
) -> list[ScanResult]:
    """Bring everything that is made from results up to date.

    Parameters
    ----------
    results : sequence of ScanResult
        Of all scans, failed ones too.
    scans : sequence of Scan
        All scans of the run.
    options : RunOptions
        With ``use_edited``, masks that were corrected by hand are taken in first; with ``reports_only``, all figures
        and pages are made again, else what is missing or older than its results. With ``no_reports``, none is.
    catalog : Catalog

    Returns
    -------
    list of ScanResult
        What failed in drawing stands in ``report_error``; with ``reports_only`` it makes the scan a failed one.
    """
    of = {result.name: result for result in results}
    every = [names_for(scan, options.output_dir, catalog) for scan in scans]
    complete = [names for names in every if (name := names.scan.name) in of and of[name].status != Status.FAILED]
    if options.use_edited:
        of |= {names.scan.name: _with_edited(names, of[names.scan.name]) for names in complete}
        complete = [names for names in complete if of[names.scan.name].status != Status.FAILED]
    write_ensembles(options.output_dir, options.bids_dir, dict.fromkeys(names.anat_dir for names in every))
    if options.no_reports:
        return list(of.values())
    undrawn = [n for n in complete if options.reports_only or _needs_figures(n, of[n.scan.name])]
    for drawn in _redraw_all(undrawn, options):
        before = of[drawn.name]
        of[drawn.name] = drawn if options.reports_only else replace(before, report_error=drawn.error)
    try:
        subset = None if options.reports_only else {names.scan.name for names in undrawn} | _done(of.values())
        problems = write_pages(options.output_dir, options.bids_dir, catalog.used, subset=subset)
    except (BidsHypoError, *DAMAGED) as error:
        logger.warning("the pages could not be written: %s", error)
        problems = {names.scan.name: f"the pages could not be written: {error}" for names in complete}
    for name, text in problems.items():
        if name in of and of[name].status != Status.FAILED and of[name].report_error is None:
            of[name] = replace(of[name], report_error=text)
    return list(of.values())


def _done(results: Iterable[ScanResult]) -> set[str]:
    return {result.name for result in results if result.status == Status.DONE}


def _with_edited(names: OutputNames, result: ScanResult) -> ScanResult:
    """The result after corrected masks were taken in; a mask that cannot be used makes it a failed one."""
    try:
        if not take_edited(names):
            return result
        return replace(read_result(names), status=Status.EDITED)
    except (BidsHypoError, *DAMAGED) as error:
        logger.error("%s", error)
        return ScanResult(names.scan.name, Status.FAILED, error=str(error))


def _needs_figures(names: OutputNames, result: ScanResult) -> bool:
    return result.report_error is None and figures_missing_or_old(names)


def _redraw_all(every: Sequence[OutputNames], options: RunOptions) -> list[ScanResult]:
    """Draw the figures of scans, several at a time as far as ``--nprocs`` allows."""
    n_procs = min(options.n_procs, len(every))
    if n_procs < 2:
        drawn = tqdm(every, unit="scan", desc="figures", dynamic_ncols=True, disable=not every)
        return [redraw(names.scan, names, anew=options.reports_only) for names in drawn]
    in_parallel = in_processes(partial(_redraw, anew=options.reports_only), every, n_procs)
    return [
        ScanResult(names.scan.name, Status.FAILED, error=f"{names.scan.path}: no figures, {result.how}.")
        if isinstance(result, Died) else result
        for names, result in tqdm(in_parallel, total=len(every), unit="scan", desc="figures", dynamic_ncols=True)
    ]  # fmt: skip


def _redraw(names: OutputNames, *, anew: bool) -> ScanResult:
    return redraw(names.scan, names, anew=anew)

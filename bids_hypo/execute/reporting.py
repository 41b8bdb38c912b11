"""Reports at the end of a run: corrected masks taken in, missing figures drawn, pages written."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

from tqdm import tqdm

from bids_hypo.bids.names import OutputNames, output_names
from bids_hypo.bids.query import Scan
from bids_hypo.errors import BidsHypoError
from bids_hypo.execute.processes import Died, in_processes
from bids_hypo.files import DAMAGED
from bids_hypo.models.bundle import ModelBundle
from bids_hypo.workflow.edited import take_edited
from bids_hypo.workflow.options import RunOptions
from bids_hypo.workflow.participant import ScanResult
from bids_hypo.workflow.reports import figures_missing_or_old, redraw, write_pages
from bids_hypo.workflow.summary import read_result

logger = logging.getLogger(__name__)


def finish_reports(
    results: Sequence[ScanResult], scans: Sequence[Scan], options: RunOptions, bundles: Sequence[ModelBundle]
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
    bundles : sequence of ModelBundle

    Returns
    -------
    list of ScanResult
        What failed in drawing stands in ``report_error``; with ``reports_only`` it makes the scan a failed one.
    """
    of = {result.name: result for result in results}
    complete = [scan for scan in scans if scan.name in of and of[scan.name].status != "failed"]
    if options.use_edited:
        of |= {scan.name: _with_edited(scan, of[scan.name], options) for scan in complete}
        complete = [scan for scan in complete if of[scan.name].status != "failed"]
    if options.no_reports:
        return list(of.values())
    undrawn = [scan for scan in complete if options.reports_only or _needs_figures(scan, of[scan.name], options)]
    for drawn in _redraw_all(undrawn, options):
        before = of[drawn.name]
        of[drawn.name] = drawn if options.reports_only else replace(before, report_error=drawn.error)
    try:
        subset = None if options.reports_only else {scan.name for scan in undrawn} | _done(of.values())
        problems = write_pages(options.output_dir, options.bids_dir, bundles, subset=subset)
    except (BidsHypoError, *DAMAGED) as error:
        logger.warning("the pages could not be written: %s", error)
        problems = {scan.name: f"the pages could not be written: {error}" for scan in complete}
    for name, text in problems.items():
        if name in of and of[name].status != "failed" and of[name].report_error is None:
            of[name] = replace(of[name], report_error=text)
    return list(of.values())


def _done(results: Iterable[ScanResult]) -> set[str]:
    return {result.name for result in results if result.status == "done"}


def _with_edited(scan: Scan, result: ScanResult, options: RunOptions) -> ScanResult:
    """The result after corrected masks were taken in; a mask that cannot be used makes it a failed one."""
    names = output_names(scan, options.output_dir)
    try:
        if not take_edited(names):
            return result
        return replace(read_result(names), status="edited")
    except (BidsHypoError, *DAMAGED) as error:
        logger.error("%s", error)
        return ScanResult(scan.name, "failed", error=str(error))


def _needs_figures(scan: Scan, result: ScanResult, options: RunOptions) -> bool:
    return result.report_error is None and figures_missing_or_old(output_names(scan, options.output_dir))


def _redraw_all(scans: Sequence[Scan], options: RunOptions) -> list[ScanResult]:
    """Draw the figures of scans, several at a time as far as ``--nprocs`` allows."""
    names = [output_names(scan, options.output_dir) for scan in scans]
    n_procs = min(options.n_procs, len(scans))
    if n_procs < 2:
        return [redraw(*pair) for pair in tqdm(list(zip(scans, names, strict=True)), unit="scan", desc="figures",
                                               dynamic_ncols=True, disable=not scans)]  # fmt: skip
    drawn = in_processes(_redraw_pair, list(zip(scans, names, strict=True)), n_procs)
    return [
        ScanResult(scan.name, "failed", error=f"{scan.path}: no figures, {result.how}.")
        if isinstance(result, Died) else result
        for (scan, _), result in tqdm(drawn, total=len(scans), unit="scan", desc="figures", dynamic_ncols=True)
    ]  # fmt: skip


def _redraw_pair(pair: tuple[Scan, OutputNames]) -> ScanResult:
    return redraw(*pair)

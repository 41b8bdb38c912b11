"""Drawing figures again from the derivatives, without any network."""

from __future__ import annotations

from dataclasses import replace

from bids_hypo.bids.names import OutputNames
from bids_hypo.bids.query import Scan
from bids_hypo.errors import BidsHypoError
from bids_hypo.image.volume import read_labels, read_volume
from bids_hypo.report.figures import overlay_figure
from bids_hypo.workflow.participant import ScanResult
from bids_hypo.workflow.summary import read_result


def redraw(scan: Scan, names: OutputNames) -> ScanResult:
    """Draw a complete scan's figures from its images; returns its result, or a failure."""
    try:
        labels = read_labels(names.dseg)
        icv = read_labels(names.icv_mask) > 0
        overlay_figure(read_volume(scan.path), labels, icv, names.figure("hypothalamus", ".png"), scan.name)
    except (BidsHypoError, OSError) as error:
        return ScanResult(scan.name, "failed", error=f"{scan.path}: {error}")
    return replace(read_result(names), status="redrawn")

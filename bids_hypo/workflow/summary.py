"""Reading back what was written for a scan."""

from __future__ import annotations

import numpy as np

from bids_hypo.bids.names import OutputNames
from bids_hypo.bids.tables import all_flags, morph_numbers
from bids_hypo.workflow.participant import ScanResult


def read_result(names: OutputNames) -> ScanResult:
    """The result of a scan that was complete before, from its table of volumes."""
    table = morph_numbers(names.morph)
    volumes = {(s, h): v for s, h, v in zip(table.structure, table.hemisphere, table.volume_mm3, strict=True)}
    icv = volumes["ICV", "B"]
    return ScanResult(
        names.scan.name,
        "kept",
        volumes["hypothalamus", "L"],
        volumes["hypothalamus", "R"],
        None if np.isnan(icv) else icv,
        all_flags(table["flags"]),
    )

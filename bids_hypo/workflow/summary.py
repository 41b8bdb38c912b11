"""Reading back what was written for a scan."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bids_hypo.bids.names import OutputNames
from bids_hypo.workflow.participant import ScanResult


def read_result(names: OutputNames) -> ScanResult:
    """The result of a scan that was complete before, from its table of volumes."""
    table = pd.read_csv(names.morph, sep="\t", na_values=["n/a"])
    volumes = {
        (s, h): v for s, h, v in zip(table.structure, table.hemisphere, table.volume_mm3.astype(float), strict=True)
    }
    icv = volumes["ICV", "B"]
    flags: list[str] = []
    for text in table["flags"].dropna():
        flags += [flag for flag in str(text).split(";") if flag not in flags]
    return ScanResult(
        names.scan.name,
        "kept",
        volumes["hypothalamus", "L"],
        volumes["hypothalamus", "R"],
        None if np.isnan(icv) else icv,
        tuple(flags),
    )

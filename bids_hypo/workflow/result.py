"""What is told about a scan after it was processed, now or in an earlier run."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import pandas as pd

from bids_hypo.bids.names import OutputNames
from bids_hypo.bids.tables import all_flags, morph_numbers
from bids_hypo.structures import BOTH, WHOLE


class Status(StrEnum):
    """What became of a scan."""

    DONE = "done"
    KEPT = "kept"  # complete before
    EDITED = "edited"  # complete before, its volumes counted anew in masks corrected by hand
    REDRAWN = "redrawn"  # complete before, its figures drawn anew
    FAILED = "failed"
    TO_DO = "to do"  # of a dry run
    WILL_FAIL = "will fail"  # of a dry run: by what can be told without reading the image
    MISSING = "missing"  # of a dry run: a subject without an image to measure


@dataclass(frozen=True)
class ScanResult:
    """What is told about a scan after it was processed.

    Attributes
    ----------
    name : str
    status : Status
    volumes_mm3 : dict of str to (float or None)
        Of each whole structure, and of the ICV where it is measured; None where it cannot be.
    flags : tuple of str
    seconds : dict of str to float
        Per stage.
    error : str or None
    report_error : str or None
        Why figures or the page could not be made; the numbers stand.
    """

    name: str
    status: Status
    volumes_mm3: dict[str, float | None] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    report_error: str | None = None


def read_result(names: OutputNames) -> ScanResult:
    """The result of a scan that was complete before, from its table of volumes."""
    return ScanResult(names.scan.name, Status.KEPT, *told_of(morph_numbers(names.morph)))


def told_of(table: pd.DataFrame) -> tuple[dict[str, float | None], tuple[str, ...]]:
    """The volumes of whole structures, and all flags, of a table of volumes."""
    whole = table[(table["part"] == WHOLE) & (table["hemisphere"] == BOTH)]
    volumes = zip(whole["structure"], whole["volume_mm3"], strict=True)
    return {str(name): None if pd.isna(v) else float(v) for name, v in volumes}, all_flags(table["flags"])

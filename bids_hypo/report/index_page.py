"""The page that lists all scans of a dataset: thumbnails, volumes, flags first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_hypo.report.flag_texts import describe_flags
from bids_hypo.report.html import write_page


@dataclass(frozen=True)
class IndexEntry:
    """One scan on the list.

    Attributes
    ----------
    name, source_file : str
    report, thumbnail : str or None
        Addresses relative to the page.
    left_mm3, right_mm3, hypothalamus_mm3, icv_mm3 : float or None
    flags : tuple of str
    manual : bool
        Whether the volumes were counted in a mask that a person corrected.
    """

    name: str
    source_file: str
    report: str | None
    thumbnail: str | None
    left_mm3: float | None
    right_mm3: float | None
    hypothalamus_mm3: float | None
    icv_mm3: float | None
    flags: tuple[str, ...]
    manual: bool


def write_index_page(path: Path, entries: Sequence[IndexEntry], *, dataset: str, n_failed: int) -> None:
    """Write the list; flagged scans come first, then by name.

    Parameters
    ----------
    path : Path
    entries : sequence of IndexEntry
    dataset : str
        Name of the dataset; ratings in the browser are kept under it.
    n_failed : int
        Scans that have a crash file.
    """
    ordered = sorted(entries, key=lambda e: (-len(e.flags), e.name))
    rows = [{"entry": entry, "flags": describe_flags(entry.flags), "ratio": _ratio(entry)} for entry in ordered]
    write_page(
        path,
        "index.html",
        dataset=dataset,
        rows=rows,
        n_flagged=sum(bool(e.flags) for e in entries),
        n_failed=n_failed,
    )


def _ratio(entry: IndexEntry) -> float | None:
    """Hypothalamus in thousandths of the ICV."""
    if entry.icv_mm3 is None or entry.hypothalamus_mm3 is None:
        return None
    return 1000.0 * entry.hypothalamus_mm3 / entry.icv_mm3

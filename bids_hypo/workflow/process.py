"""From a scan to its derivatives: read, segment, write, draw."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

from bids_hypo.bids.checksums import record_source, stamp_of
from bids_hypo.bids.names import OutputNames
from bids_hypo.bids.reading import read_scan
from bids_hypo.bids.removal import remove_outputs, remove_unfinished
from bids_hypo.bids.sidecars import read_head_axes
from bids_hypo.ending import undone_at_end
from bids_hypo.image.volume import Volume
from bids_hypo.structures import ICV
from bids_hypo.workflow.edited import Counted, counted_masks
from bids_hypo.workflow.records import Kept, provenance, read_kept, restore_kept, write_images, write_records
from bids_hypo.workflow.result import ScanResult, Status, told_of
from bids_hypo.workflow.scan import Models, Segmentation, segment_volume
from bids_hypo.workflow.stopwatch import Stopwatch, Tell


def process_scan(
    names: OutputNames, models: Models, *, items: Collection[str] | None = None, fast: bool = False,
    settings: dict[str, Any] | None = None, tell: Tell | None = None,
) -> ScanResult:  # fmt: skip
    """Measure a scan and write its derivatives; on failure nothing of what was to be measured stays.

    Derivatives of an earlier run are replaced once the scan is segmented; a process that ends before leaves them.

    Parameters
    ----------
    names : OutputNames
        Of the scan.
    models : Models
    items : collection of str, optional
        What to measure: structures, the ICV; all of `names` if not given. The results of everything else on record
        stay.
    fast : bool
        One network of each structure, on the image as it is.
    settings : dict, optional
        Recorded in the sidecars, compared when resuming.
    tell : callable, optional
        Called with the name of each stage that begins.

    Returns
    -------
    ScanResult

    Raises
    ------
    BidsHypoError
        See the stages.
    """
    scan, watch = names.scan, Stopwatch(tell)
    wanted = names.items if items is None else tuple(items)
    kept = read_kept(names, wanted)
    with undone_at_end(partial(remove_unfinished, names, wanted)):
        try:
            with watch.stage("read"):
                untouched = stamp_of(scan.path)
                volume = read_scan(scan)
                source = record_source(scan.path, untouched)
            if kept.record and kept.record.get("SourceSHA256") != source.sha256:
                kept = Kept()  # what is on record was measured in another image of this name
            found = segment_volume(
                volume, models, suffix=scan.suffix, wanted=wanted, fast=fast, what=str(scan.path), watch=watch
            )
            remove_outputs(names, wanted if kept.record else None)
            with watch.stage("write"):
                write_images(names, volume, found, icv=ICV in wanted)
            makers = models.catalog.makers(scan.suffix)
            made_by = {i: provenance(makers[i], models, watch, settings or {}, source) for i in wanted}
            table, record = write_records(names, volume, found, made_by, kept)
        except BaseException:
            _take_back(names, wanted, kept)
            raise
    with watch.stage("draw"):  # after the records: a figure that fails costs no result
        undrawn = _draw(names, volume, found, kept, record)
    return ScanResult(scan.name, Status.DONE, *told_of(table), dict(watch.seconds), report_error=undrawn)


def _take_back(names: OutputNames, wanted: Collection[str], kept: Kept) -> None:
    """Remove what was to be measured, or everything where nothing else is kept."""
    if not kept.record:
        remove_outputs(names)
        return
    remove_outputs(names, wanted)
    restore_kept(names, kept)


def _draw(names: OutputNames, volume: Volume, found: Segmentation, kept: Kept, record: dict[str, Any]) -> str | None:
    """Draw the figures; returns why not.

    Along the axes as they are recorded, rounded: the same bytes when a figure is drawn again from the files.
    """
    from bids_hypo.workflow.drawing import try_to_draw  # seconds that planning a run need not pay

    labels = {name: (one.structure, one.delineation.labels) for name, one in found.found.items()}
    counted = Counted(labels, found.icv if found.measures_icv else None)
    if kept.record:  # the rest of the picture lies in files
        counted = counted_masks(names)
    return try_to_draw(names, volume, counted, read_head_axes(record))

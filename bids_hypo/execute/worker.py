"""What every place of work does: load the networks once per process, process scans, turn failures into records."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from bids_hypo.bids.claims import claim
from bids_hypo.bids.dataset import clear_crash, write_crash
from bids_hypo.bids.names import OutputNames, output_names
from bids_hypo.bids.query import Scan
from bids_hypo.bids.removal import remove_unfinished
from bids_hypo.bids.resume import Doubt, find_doubts
from bids_hypo.errors import BidsHypoError
from bids_hypo.image.limits import set_voxel_limit
from bids_hypo.models.batches import SharedNetwork
from bids_hypo.models.catalog import Catalog, find_models
from bids_hypo.models.device import parse_device
from bids_hypo.structures import DEFAULT_STRUCTURES
from bids_hypo.workflow.options import RunOptions
from bids_hypo.workflow.process import process_scan
from bids_hypo.workflow.records import read_kept, restore_kept
from bids_hypo.workflow.result import ScanResult, Status, read_result
from bids_hypo.workflow.scan import Models, Network
from bids_hypo.workflow.stopwatch import Tell

logger = logging.getLogger(__name__)


def work(
    scan: Scan, options: RunOptions, *, raise_if: Callable[[BaseException], bool] = lambda _: False,
    tell: Tell | None = None,
) -> ScanResult:  # fmt: skip
    """Process a scan; a failure becomes a record and a crash file, never the end of the run.

    Parameters
    ----------
    scan : Scan
    options : RunOptions
    raise_if : callable
        Errors for which it is true are raised rather than recorded, because the caller will try again.
    tell : callable, optional
        Called with the name of each stage that begins.

    Returns
    -------
    ScanResult
        With status ``done``, ``failed``, or ``kept`` if another job finished the scan in the meantime.
    """
    models = models_for(options)
    set_voxel_limit(options.voxel_limit)
    try:
        names = names_for(scan, options.output_dir, models.catalog)
        with claim(names):
            items = names.items if options.overwrite else tuple(what_to_do(names, models.catalog, options))
            if items == ():
                result = read_result(names)
            else:
                result = process_scan(
                    names, models, items=items, fast=options.fast, settings=options.settings, tell=tell
                )
    except Exception as error:  # one scan, whatever it does, must not end the others
        if raise_if(error):
            raise
        if isinstance(error, BidsHypoError):
            return record_failure(scan, options.output_dir, str(error))
        first = f"{scan.path}: unexpected {type(error).__name__}: {error}"
        return record_failure(scan, options.output_dir, f"{first}\n\n{traceback.format_exc()}")
    clear_crash(options.output_dir, scan)
    return result


def names_for(scan: Scan, output_dir: Path, catalog: Catalog) -> OutputNames:
    """The derivatives of a scan: those of the structures that are measured on such an image."""
    return output_names(scan, output_dir, catalog.structures_for(scan.suffix))


def what_to_do(names: OutputNames, catalog: Catalog, options: RunOptions) -> dict[str, Doubt]:
    """What of a scan is to be measured (again), and why; see `bids_hypo.bids.resume.find_doubts`."""
    makers = catalog.makers(names.scan.suffix)
    digests = {item: [bundle.weights_sha256 for bundle in bundles] for item, bundles in makers.items()}
    return find_doubts(names, digests, settings=options.settings)


def record_failure(scan: Scan, output_dir: Path, text: str) -> ScanResult:
    """Write the crash file of a scan and return its result; the first line of the text is the message."""
    path = write_crash(output_dir, scan, text)
    message = text.partition("\n\n")[0]  # a traceback may follow
    logger.error("%s (details: %s)", message, path)
    return ScanResult(scan.name, Status.FAILED, error=message)


def remove_half_written(scan: Scan, options: RunOptions) -> None:
    """Take away what a process left that died while it worked on a scan, and could not do it itself."""
    names = names_for(scan, options.output_dir, find_models(options.models_dir, options.structures))
    with claim(names):
        half_done = remove_unfinished(names, names.items)
        if half_done:
            restore_kept(names, read_kept(names, half_done))


def models_for(options: RunOptions) -> Models:
    """The models of a run, loaded at the first call in a process."""
    return load_models(
        options.device, options.omp_nthreads, options.models_dir, options.batch_size, options.structures,
        n_lanes=options.overlap,
    )  # fmt: skip


@lru_cache(maxsize=1)
def load_models(
    device: str = "auto", n_threads: int | None = None, models_dir: Path | None = None, batch_size: int = 16,
    structures: tuple[str, ...] = DEFAULT_STRUCTURES, *, mixed: bool | None = None, n_lanes: int = 1,
) -> Models:  # fmt: skip
    """Choose the device and load the networks, once per process; TensorFlow is imported here and nowhere earlier.

    Parameters
    ----------
    device : str
        ``auto``, ``cpu``, ``gpu`` or ``gpu:N``.
    n_threads : int, optional
        Of this process; all cores if not given.
    models_dir : Path, optional
        A folder of bundle folders to use in place of ours.
    batch_size : int
        Slices per call of a network.
    structures : tuple of str
        What will be measured, or ``all``.
    mixed : bool, optional
        Whether to compute in mixed precision; if not given, on a GPU where the bundle allows it.
    n_lanes : int
        Batches that may be worked on at the same time on a CPU; they share the threads.

    Returns
    -------
    Models

    Raises
    ------
    ModelError, UsageError
        For models, structures and devices that cannot be used.
    """
    from bids_hypo.models.hardware import configure_device
    from bids_hypo.models.inference import load_networks, mean_network

    used = configure_device(parse_device(device), n_threads, n_lanes)
    catalog = find_models(models_dir, structures)
    on_cpu = used == "cpu"
    half = {b.folder: (b.mixed_precision and not on_cpu) if mixed is None else mixed for b in catalog.used}
    used += ", mixed precision" if any(half.values()) else ""
    logger.info("device: %s", used)
    networks: dict[str, tuple[Network, ...]] = {}
    shared: list[SharedNetwork] = []
    for bundle in catalog.used:
        several = load_networks(
            bundle, batch_size=batch_size, on_cpu=on_cpu, mixed=half[bundle.folder], n_lanes=n_lanes if on_cpu else 1
        )
        networks[str(bundle.folder)] = several if bundle.structure else (mean_network(several),)
        shared += several
    return Models(catalog, networks, used, tuple(shared))

"""What every place of work does: load the networks once per process, process scans, turn failures into records."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from bids_hypo.bids.claims import claim
from bids_hypo.bids.dataset import clear_crash, write_crash
from bids_hypo.bids.names import output_names
from bids_hypo.bids.query import Scan
from bids_hypo.bids.resume import outputs_complete, remove_outputs
from bids_hypo.errors import BidsHypoError
from bids_hypo.image.limits import set_voxel_limit
from bids_hypo.models.catalog import ANATOMY, HYPOTHALAMUS, ICV, find_bundles
from bids_hypo.models.device import parse_device
from bids_hypo.workflow.options import RunOptions
from bids_hypo.workflow.participant import Models, ScanResult, process_scan
from bids_hypo.workflow.summary import read_result

logger = logging.getLogger(__name__)


def work(scan: Scan, options: RunOptions, *, raise_if: Callable[[BaseException], bool] = lambda _: False) -> ScanResult:
    """Process a scan; a failure becomes a record and a crash file, never the end of the run.

    Parameters
    ----------
    scan : Scan
    options : RunOptions
    raise_if : callable
        Errors for which it is true are raised rather than recorded, because the caller will try again.

    Returns
    -------
    ScanResult
        With status ``done``, ``failed``, or ``kept`` if another job finished the scan in the meantime.
    """
    models = models_for(options)
    set_voxel_limit(options.voxel_limit)
    try:
        names = output_names(scan, options.output_dir)
        digests = [bundle.weights_sha256 for bundle in models.bundles.values()]
        with claim(names):
            if not options.overwrite and outputs_complete(names, digests, settings=options.settings):
                result = read_result(names)
            else:
                result = process_scan(scan, names, models, fast=options.fast, settings=options.settings)
    except Exception as error:  # one scan, whatever it does, must not end the others
        if raise_if(error):
            raise
        if isinstance(error, BidsHypoError):
            return record_failure(scan, options.output_dir, str(error))
        first = f"{scan.path}: unexpected {type(error).__name__}: {error}"
        return record_failure(scan, options.output_dir, f"{first}\n\n{traceback.format_exc()}")
    clear_crash(options.output_dir, scan)
    return result


def record_failure(scan: Scan, output_dir: Path, text: str) -> ScanResult:
    """Write the crash file of a scan and return its result; the first line of the text is the message."""
    path = write_crash(output_dir, scan, text)
    message = text.partition("\n\n")[0]  # a traceback may follow
    logger.error("%s (details: %s)", message, path)
    return ScanResult(scan.name, "failed", error=message)


def remove_half_written(scan: Scan, output_dir: Path) -> None:
    """Take away what a process left that died while it worked on a scan, and could not do it itself."""
    names = output_names(scan, output_dir)
    with claim(names):
        remove_outputs(names)


def models_for(options: RunOptions) -> Models:
    """The models of a run, loaded at the first call in a process."""
    return load_models(
        options.device, options.omp_nthreads, options.models_dir, options.batch_size, n_lanes=options.overlap
    )


@lru_cache(maxsize=1)
def load_models(
    device: str, n_threads: int | None, models_dir: Path | None, batch_size: int, *, mixed: bool | None = None,
    n_lanes: int = 1,
) -> Models:  # fmt: skip
    """Choose the device and load the networks, once per process; TensorFlow is imported here and nowhere earlier.

    On a GPU the networks compute in mixed precision where their bundle allows it, unless ``mixed`` says otherwise. On a
    CPU ``n_lanes`` batches may be worked on at the same time, which share the threads.
    """
    from bids_hypo.models.hardware import configure_device
    from bids_hypo.models.inference import load_networks, mean_network

    used = configure_device(parse_device(device), n_threads, n_lanes)
    bundles = find_bundles(models_dir)
    on_cpu = used == "cpu"
    if mixed is None:
        half = {name: bundle.mixed_precision and not on_cpu for name, bundle in bundles.items()}
    else:
        half = dict.fromkeys(bundles, mixed)
    used += ", mixed precision" if any(half.values()) else ""
    logger.info("device: %s", used)
    networks = {
        name: load_networks(
            bundle, batch_size=batch_size, on_cpu=on_cpu, mixed=half[name], n_lanes=n_lanes if on_cpu else 1
        )
        for name, bundle in bundles.items()
    }
    return Models(
        bundles,
        mean_network(networks[ANATOMY]),
        networks[HYPOTHALAMUS],
        mean_network(networks[ICV]) if ICV in networks else None,
        used,
        tuple(network for several in networks.values() for network in several),
    )

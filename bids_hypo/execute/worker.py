"""What every place of work does: load the networks once per process, process scans, turn failures into records."""

from __future__ import annotations

import logging
import traceback
from functools import lru_cache
from pathlib import Path

from bids_hypo.bids.dataset import clear_crash, write_crash
from bids_hypo.bids.names import output_names
from bids_hypo.bids.query import Scan
from bids_hypo.errors import BidsHypoError
from bids_hypo.models.catalog import ANATOMY, HYPOTHALAMUS, ICV, find_bundles
from bids_hypo.models.device import parse_device
from bids_hypo.workflow.options import RunOptions
from bids_hypo.workflow.participant import Models, ScanResult, process_scan

logger = logging.getLogger(__name__)


def work(scan: Scan, options: RunOptions) -> ScanResult:
    """Process a scan; a failure becomes a record and a crash file, never the end of the run.

    Parameters
    ----------
    scan : Scan
    options : RunOptions

    Returns
    -------
    ScanResult
        With status ``done`` or ``failed``.
    """
    models = load_models(options.device, options.omp_nthreads, options.models_dir, options.batch_size)
    try:
        names = output_names(scan, options.output_dir)
        result = process_scan(scan, names, models, fast=options.fast, settings=options.settings)
    except BidsHypoError as error:
        return record_failure(scan, options.output_dir, str(error))
    except Exception as error:  # noqa: BLE001 - one scan, whatever it does, must not end the others
        first = f"{scan.path}: unexpected {type(error).__name__}: {error}"
        return record_failure(scan, options.output_dir, f"{first}\n\n{traceback.format_exc()}")
    clear_crash(options.output_dir, scan)
    return result


def record_failure(scan: Scan, output_dir: Path, text: str) -> ScanResult:
    """Write the crash file of a scan and return its result; the first line of the text is the message."""
    path = write_crash(output_dir, scan, text)
    message = text.splitlines()[0]
    logger.error("%s (details: %s)", message, path)
    return ScanResult(scan.name, "failed", error=message)


@lru_cache(maxsize=1)
def load_models(device: str, n_threads: int | None, models_dir: Path | None, batch_size: int) -> Models:
    """Choose the device and load the networks, once per process; TensorFlow is imported here and nowhere earlier."""
    from bids_hypo.models.network import configure_device, load_network, load_networks

    used = configure_device(parse_device(device), n_threads)
    logger.info("device: %s", used)
    bundles = find_bundles(models_dir)
    return Models(
        bundles,
        load_network(bundles[ANATOMY], batch_size=batch_size),
        load_networks(bundles[HYPOTHALAMUS], batch_size=batch_size),
        load_network(bundles[ICV], batch_size=batch_size) if ICV in bundles else None,
        used,
    )

"""Work on an existing Dask cluster (extra ``[cluster]``); scans and results must be on a file system all can reach."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bids_hypo.bids.query import Scan
from bids_hypo.errors import UsageError
from bids_hypo.execute.worker import record_failure, work
from bids_hypo.workflow.options import RunOptions
from bids_hypo.workflow.participant import ScanResult

RETRIES = 2
CONNECT_SECONDS = 30


def run_on_cluster(todo: Sequence[Scan], options: RunOptions) -> Iterator[ScanResult]:
    """Process scans on the workers of a Dask scheduler, one scan at a time on each worker process.

    A scan whose worker dies is tried elsewhere by the scheduler; one that kills its workers again and again is
    recorded as failed.

    Parameters
    ----------
    todo : sequence of Scan
    options : RunOptions
        ``scheduler`` is the address, such as ``tcp://host:8786``.

    Yields
    ------
    ScanResult

    Raises
    ------
    UsageError
        If distributed is not installed or the scheduler cannot be reached.
    """
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise UsageError("--scheduler needs Dask: pip install 'bids_hypo[cluster]'.") from error
    try:
        client = Client(options.scheduler, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--scheduler {options.scheduler}: no Dask scheduler answers there ({error}); expected an address such as "
            "tcp://host:8786."
        ) from error
    with client:
        futures = {client.submit(work, scan, options, pure=False, retries=RETRIES): scan for scan in todo}
        for future in as_completed(futures):
            scan = futures[future]
            if future.status == "finished":
                yield future.result()
            else:
                text = f"{scan.path}: failed on the cluster ({future.exception()}). See the logs of its workers."
                yield record_failure(scan, options.output_dir, text)

"""Keeping two jobs off the same scan, and clearing away what jobs left that were killed."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bids_hypo.bids.names import OutputNames
from bids_hypo.ending import undone_at_end, unless_ending
from bids_hypo.image.held import NoLocksError, open_held, remove_unheld
from bids_hypo.image.volume import PART_PATTERN

CLAIM_SECONDS = 900.0  # how long another job may take for a scan; after that we go on beside it
_CLAIM_POLL_SECONDS = 0.5
PROBE = ".probe-"  # begins the names of files in logs/ by which workers of a cluster tell the output folder
_LOCKS = ".*.lock"

_log = logging.getLogger(__name__)


@contextmanager
def claim(names: OutputNames) -> Iterator[None]:
    """Hold a scan for as long as the block lasts, so that two jobs never write its derivatives at the same time.

    The claim is a lock on a small file in ``logs/``: it ends with the process that holds it, however that ends, and
    reaches across machines where the file system supports locks. Where it does not, or where another job holds
    the scan for longer than `CLAIM_SECONDS`, the block runs without: files are still written whole.

    Parameters
    ----------
    names : OutputNames
    """
    path = lock_file(names)
    path.parent.mkdir(parents=True, exist_ok=True)
    held: list[int] = []
    with undone_at_end(partial(_release, path, held)):
        _wait_for(path, held)
        try:
            yield
        finally:
            _release(path, held)


def lock_file(names: OutputNames) -> Path:
    """The small file in ``logs/`` that a job holds while it works on a scan."""
    return names.crash.with_name(f".{names.scan.name}.lock")


def _release(path: Path, held: list[int]) -> None:
    with unless_ending():
        if held:
            path.unlink(missing_ok=True)
            os.close(held.pop())


def _wait_for(path: Path, held: list[int]) -> None:
    """Hold a file, its handle goes into `held`; nothing goes there if that cannot be had."""
    deadline = time.monotonic() + CLAIM_SECONDS
    while True:
        try:
            with unless_ending():
                handle = open_held(path)
                if handle is not None:
                    held.append(handle)
                    return
        except NoLocksError as error:
            _log.debug("%s: no locks on this file system (%s)", path, error)
            path.unlink(missing_ok=True)
            return
        if time.monotonic() > deadline:
            _log.warning(
                "%s: another job has been at this scan for %g s; this job measures it as well.", path, CLAIM_SECONDS
            )
            return
        time.sleep(_CLAIM_POLL_SECONDS)


def clear_left_over(output_dir: Path, scans: Iterable[OutputNames]) -> None:
    """Remove what a killed run left: locks, probes and half written files that no living process holds.

    Parameters
    ----------
    output_dir : Path
    scans : iterable of OutputNames
        Those of this run: only their folders are looked through, besides the output folder itself and its ``logs``.
    """
    logs = output_dir / "logs"
    remove_unheld(logs.glob(_LOCKS))
    for probe in remove_unheld(path for path in logs.glob(f"{PROBE}*") if not path.suffix):
        for mark in logs.glob(f"{probe.name}-*"):  # of the scans that its workers began
            mark.unlink(missing_ok=True)
    folders = {folder for names in scans for folder in (names.anat_dir, names.figures_dir)}
    for folder in (output_dir, logs, output_dir / "figures", *sorted(folders)):
        remove_unheld(folder.glob(PART_PATTERN))

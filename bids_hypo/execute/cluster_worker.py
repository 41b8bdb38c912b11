"""What happens on the workers of a Dask cluster: is this worker fit, one try at a scan, is a failure worth another."""

from __future__ import annotations

import errno
import os
import platform
import socket
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from secrets import token_hex

from bids_hypo.bids.claims import PROBE
from bids_hypo.bids.names import LOGS
from bids_hypo.bids.query import Scan
from bids_hypo.ending import undone_at_end
from bids_hypo.execute.worker import work
from bids_hypo.image.held import NoLocksError, open_held
from bids_hypo.workflow.options import RunOptions
from bids_hypo.workflow.result import ScanResult

# Other versions of these may give other bytes.
PACKAGES = ("bids_hypo", "numpy", "scipy", "nibabel", "tensorflow", "tf_keras", "segmentation-models")

# Errors of the system that come back however often one tries; every other one may be gone elsewhere or later.
_LASTING = frozenset(
    {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG,
     errno.EROFS, errno.EINVAL, errno.ELOOP, errno.EFBIG}
)  # fmt: skip

# Several threads of a worker would load the networks twice and share one TensorFlow: a scan at a time per process.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Expected:
    """What a worker must have in common with the process that hands out the scans.

    Attributes
    ----------
    probe : Path
        A file in the output folder.
    token : str
        Its content.
    bids_dir : Path
    versions : tuple of (str, str)
        Of Python and of packages, see `versions_here`.
    """

    probe: Path
    token: str
    bids_dir: Path
    versions: tuple[tuple[str, str], ...]

    def note_start(self, scan: Scan) -> None:
        """Leave a mark that a worker begins with a scan; it outlives the worker."""
        self.probe.with_name(f"{self.probe.name}-{scan.name}.{token_hex(4)}").touch()

    def n_starts(self, scan: Scan) -> int:
        """How often workers have begun with a scan, unlike how often it lay on a worker that died."""
        return len(list(self.probe.parent.glob(f"{self.probe.name}-{scan.name}.*")))


@dataclass(frozen=True)
class Attempt:
    """How one try at a scan ended; exactly one of the first three is set.

    Attributes
    ----------
    result : ScanResult or None
        The scan is done, or failed for good.
    problem : str or None
        A failure that may be gone at the next try.
    unfit : str or None
        Why this worker cannot process any scan.
    worker : str
        Its address.
    """

    result: ScanResult | None
    problem: str | None
    unfit: str | None
    worker: str


@contextmanager
def expectation(bids_dir: Path, output_dir: Path) -> Iterator[Expected]:
    """Put a probe file in the output folder for as long as workers may look for it."""
    token = token_hex(8)
    probe = output_dir / LOGS / f"{PROBE}{token}"
    probe.parent.mkdir(parents=True, exist_ok=True)
    remove = partial(_remove_probe, probe)
    with undone_at_end(remove), ExitStack() as held:
        with suppress(NoLocksError):
            handle = open_held(probe)  # until the end, so that no other run takes it for one that was left
            if handle is not None:
                held.callback(os.close, handle)
        probe.write_text(token, encoding="utf-8")
        try:
            yield Expected(probe, token, bids_dir, versions_here())
        finally:
            remove()


def _remove_probe(probe: Path) -> None:
    for mark in probe.parent.glob(f"{probe.name}*"):
        mark.unlink(missing_ok=True)


def versions_here() -> tuple[tuple[str, str], ...]:
    """Versions of Python (major.minor) and of what computes, in this process."""
    found = [("Python", ".".join(platform.python_version_tuple()[:2]))]
    for name in PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            found.append((name, "none"))
    return tuple(found)


def why_unfit(expected: Expected) -> str | None:
    """Why this process must not process scans; None if it may.

    Parameters
    ----------
    expected : Expected

    Returns
    -------
    str or None
        Names the host, what was found, what was expected and what to do.
    """
    host = socket.gethostname()
    differing = [
        f"{name} {here} (expected {there})"
        for (name, there), (_, here) in zip(expected.versions, versions_here(), strict=True)
        if here != there
    ]
    if differing:
        return (
            f"worker on {host}: has {', '.join(differing)}, so its results could differ. Start the workers from the "
            "same environment."
        )
    output_dir = expected.probe.parents[1]
    try:
        seen = expected.probe.read_text(encoding="utf-8") == expected.token
        with tempfile.TemporaryFile(dir=expected.probe.parent):
            pass
    except OSError as error:
        return (
            f"worker on {host}: does not see or cannot write the output folder {output_dir} ({error}). It must be on a "
            "file system that all workers share, under the same path."
        )
    if not seen:
        return f"worker on {host}: its {output_dir} is another folder. It must be the same one on all workers."
    if not expected.bids_dir.is_dir():
        return (
            f"worker on {host}: does not see the dataset {expected.bids_dir}. It must be on a file system that all "
            "workers share, under the same path."
        )
    return None


def attempt(scan: Scan, options: RunOptions, expected: Expected) -> Attempt:
    """Try a scan on this worker; never raises, so that the caller decides what comes next.

    Parameters
    ----------
    scan : Scan
    options : RunOptions
    expected : Expected

    Returns
    -------
    Attempt
        A scan that fails because of what it is, is failed for good; an error of the machine is a problem to try
        again; what fails before any scan is looked at (device, models) makes the worker unfit.
    """
    from distributed import get_worker

    worker = str(get_worker().address)
    with _ONE_AT_A_TIME:
        unfit = why_unfit(expected)
        if unfit:
            return Attempt(None, None, unfit, worker)
        try:
            expected.note_start(scan)
            return Attempt(work(scan, options, raise_if=worth_another_try), None, None, worker)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
            text = f"worker on {socket.gethostname()}: {type(error).__name__}: {error}"
            if worth_another_try(error):
                return Attempt(None, f"{text}\n\n{traceback.format_exc()}", None, worker)
            return Attempt(None, None, text, worker)


def worth_another_try(error: BaseException) -> bool:
    """Whether an error, or one that caused it, comes from the machine rather than from the data.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    bool
        True for lack of memory and for errors of input and output (a stale handle, a full disk); False for files
        that are absent or forbidden, damaged images, and everything else.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError):
            return True
        if isinstance(cause, OSError) and cause.errno is not None and cause.errno not in _LASTING:
            return True
        cause = cause.__cause__
    return False

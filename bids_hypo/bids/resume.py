"""Whether the derivatives of a scan are complete, taking stale ones away, keeping two jobs off the same scan."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bids_hypo.bids.names import OutputNames, bids_uri, sidecar

CLAIM_SECONDS = 900.0  # how long another job may take for a scan; after that we go on beside it
_CLAIM_POLL_SECONDS = 0.5

_log = logging.getLogger(__name__)


def outputs_complete(
    names: OutputNames, model_sha256s: Collection[str], *, settings: Mapping[str, Any] | None = None
) -> bool:
    """Whether all derivatives of a scan are there and were made from it by the same models.

    Parameters
    ----------
    names : OutputNames
    model_sha256s : collection of str
        Checksums of the weights that would be used now, of all bundles.
    settings : mapping, optional
        If given, must equal the settings that the files were made with (`Provenance.settings`).

    Returns
    -------
    bool
        True only if the table's JSON names the set of files, each exists and is not empty, and every sidecar
        names the same models and a source of the same name and size.
    """
    problem = _problem(names, {sha.lower() for sha in model_sha256s}, settings)
    if problem:
        _log.debug("%s: to be done, %s.", names.scan.name, problem)
    return problem is None


def _problem(names: OutputNames, wanted: set[str], settings: Mapping[str, Any] | None) -> str | None:
    closing = _read_json(sidecar(names.morph))
    if closing is None:
        return f"no readable {sidecar(names.morph).name}"
    listed = closing.get("Files")
    files = set(listed) if isinstance(listed, list) else set()
    # The ICV of a skull-stripped scan may be missing on purpose; then it is not in the list.
    required = [path for path in names.files[:-1] if path not in (names.icv_mask, sidecar(names.icv_mask))]
    lacking = [path.name for path in required if path.name not in files]
    if lacking:
        return f"{lacking[0]} is not listed in {sidecar(names.morph).name}"
    for name in sorted(files):
        path = names.anat_dir / str(name)
        if not path.is_file() or path.stat().st_size == 0:
            return f"{path.name} is missing or empty"
    images = [image for image in names.images if image.name in files]
    for path in [names.morph, *images]:
        problem = _sidecar_problem(sidecar(path), names, wanted, settings)
        if problem:
            return f"{sidecar(path).name} {problem}"
    return None


def _sidecar_problem(
    path: Path, names: OutputNames, wanted: set[str], settings: Mapping[str, Any] | None
) -> str | None:
    content = _read_json(path)
    if content is None:
        return "is missing or unreadable"
    models = content.get("Models")
    used = [m.get("WeightsSHA256") for m in models.values() if isinstance(m, dict)] if isinstance(models, dict) else []
    if {str(sha).lower() for sha in used} != wanted:
        return "names other models"
    size_bytes = names.scan.size_bytes  # None for a source that is out of reach now: no reason to do it again
    if content.get("Sources") != [bids_uri(names.scan)] or size_bytes not in (None, content.get("SourceBytes")):
        return "names another source, or the source has another size now"
    if settings is not None and content.get("Settings") != json.loads(json.dumps(dict(settings))):
        return "was made with other settings"
    return None


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def remove_outputs(names: OutputNames) -> None:
    """Remove the derivatives of one scan, whole or half written; figures and reports are left alone.

    Parameters
    ----------
    names : OutputNames
        The table's JSON goes first, so that the set never looks complete on the way.

    Raises
    ------
    OSError
        If a file cannot be removed.
    """
    for path in reversed(names.files):
        path.unlink(missing_ok=True)
        for part in names.anat_dir.glob(f".{path.name}.*.part"):  # left by a run that was killed
            part.unlink(missing_ok=True)


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
    path = names.crash.with_name(f".{names.scan.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = _lock(path)
    try:
        yield
    finally:
        if handle is not None:
            path.unlink(missing_ok=True)
            os.close(handle)


def _lock(path: Path) -> int | None:
    """Lock a file and return its handle; None if that cannot be had."""
    deadline = time.monotonic() + CLAIM_SECONDS
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(handle, path):
                return handle
            os.close(handle)  # the holder before us has removed it: lock the new one
            continue
        except OSError as error:
            os.close(handle)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                _log.debug("%s: no locks on this file system (%s)", path, error)
                path.unlink(missing_ok=True)
                return None
        if time.monotonic() > deadline:
            _log.warning("%s: another job has held it for %g s; going on beside it.", path, CLAIM_SECONDS)
            return None
        time.sleep(_CLAIM_POLL_SECONDS)


def _is_still(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESTALE):  # NFS calls a file stale that another machine has removed
            return False
        raise

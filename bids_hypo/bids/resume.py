"""Whether the derivatives of a scan are complete and as they were written, and taking stale ones away."""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bids_hypo.bids.checksums import record_source, recorded_checksums, sha256_of, source_times, stamp_of
from bids_hypo.bids.claims import lock_file
from bids_hypo.bids.links import check_writes_stay, way_out
from bids_hypo.bids.names import OutputNames, bids_uri, sidecar
from bids_hypo.bids.sidecars import read_record, write_json
from bids_hypo.ending import undone_at_end
from bids_hypo.errors import ScanReadError
from bids_hypo.image.volume import PART_PATTERN, write_bytes
from bids_hypo.untrusted import is_plain_name

# Kinds of doubt.
NOT_DONE = "not done yet"
SOURCE = "the scan has changed"
RESULTS = "the results are damaged or were changed"
MODELS = "made by other models"
SETTINGS = "made with other settings"
LINKS = "links lead out of the folder"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Doubt:
    """Why the outputs of a scan are not taken as they are.

    Attributes
    ----------
    kind : str
        One of the constants of this module, to sort by.
    text : str
        What was found, with the name of the file.
    """

    kind: str
    text: str


def outputs_complete(
    names: OutputNames, model_sha256s: Collection[str], *, settings: Mapping[str, Any] | None = None
) -> bool:
    """Whether all derivatives of a scan are there, as they were written, and were made from it by the same models.

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
        True only if `find_doubt` finds nothing.
    """
    return find_doubt(names, model_sha256s, settings=settings) is None


def find_doubt(
    names: OutputNames, model_sha256s: Collection[str], *, settings: Mapping[str, Any] | None = None
) -> Doubt | None:
    """Why a scan has to be done (again): see `outputs_complete` for the parameters.

    Returns
    -------
    Doubt or None
        None only if the table's JSON, which closes the set, names all files, each has the checksum written there,
        every sidecar names the same models and settings, and the source has the content that was measured.
    """
    away = _doubt_of_links(names, (names.anat_dir, names.figures_dir))
    if away:
        return away
    closing = _record_or_none(sidecar(names.morph))
    if closing is None:
        if not os.path.lexists(sidecar(names.morph)):  # also where nobody may look: writing will say so
            return Doubt(NOT_DONE, f"there is no {sidecar(names.morph).name}")
        return Doubt(RESULTS, f"{sidecar(names.morph).name} cannot be read")
    files = recorded_checksums(closing) or {}
    if not all(map(is_plain_name, files)):
        return Doubt(RESULTS, f"{sidecar(names.morph).name} lists what is no name of a file")
    # The ICV of a skull-stripped scan may be missing on purpose; then it is not in the list.
    required = [path for path in names.files[:-1] if path not in (names.icv_mask, sidecar(names.icv_mask))]
    lacking = [path.name for path in required if path.name not in files]
    if lacking:
        return Doubt(RESULTS, f"{lacking[0]} is not listed in {sidecar(names.morph).name}")
    wanted = {sha.lower() for sha in model_sha256s}
    images = [image for image in names.images if image.name in files]
    for path in [names.morph, *images]:
        doubt = _doubt_of_sidecar(sidecar(path), names, wanted, settings)
        if doubt:
            return doubt
    changed = source_change(names, closing)
    if changed:
        return Doubt(SOURCE, changed)
    found = (_doubt_of_file(names.anat_dir / name, digest) for name, digest in sorted(files.items()))
    return next((doubt for doubt in found if doubt), None)


def find_link_out(names: OutputNames) -> Doubt | None:
    """Whether a file that `take_over` would copy is a link out of its dataset, to what belongs to nobody's results."""
    edited = [path for mask in names.edited for path in (mask, sidecar(mask))]
    return _doubt_of_links(names, (*names.files, *edited))


def _doubt_of_links(names: OutputNames, paths: Iterable[Path]) -> Doubt | None:
    for path in paths:
        target = way_out(path, names.output_dir)
        if target is not None:
            where = path.relative_to(names.output_dir)
            return Doubt(LINKS, f"{where} leads to {target}, outside of {names.output_dir}")
    return None


def _doubt_of_file(path: Path, digest: str | None) -> Doubt | None:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            return Doubt(RESULTS, f"{path.name} is no file")
        if status.st_size == 0:
            return Doubt(RESULTS, f"{path.name} is empty")
        if digest is not None and sha256_of(path) != digest:
            return Doubt(RESULTS, f"{path.name} is damaged, or was changed after it was written")
    except FileNotFoundError:
        return Doubt(RESULTS, f"{path.name} is missing")
    except OSError as error:
        return Doubt(RESULTS, f"{path.name} cannot be read ({error.strerror})")
    return None


def _doubt_of_sidecar(
    path: Path, names: OutputNames, wanted: set[str], settings: Mapping[str, Any] | None
) -> Doubt | None:
    content = _record_or_none(path)
    if content is None:
        return Doubt(RESULTS, f"{path.name} is missing or cannot be read")
    models = content.get("Models")
    used = [m.get("WeightsSHA256") for m in models.values() if isinstance(m, dict)] if isinstance(models, dict) else []
    if {str(sha).lower() for sha in used} != wanted:
        return Doubt(MODELS, f"{path.name} names other models")
    if content.get("Sources") != [bids_uri(names.scan)]:
        return Doubt(SOURCE, f"{path.name} names another source")
    if settings is not None and content.get("Settings") != json.loads(json.dumps(dict(settings))):
        return Doubt(SETTINGS, f"{path.name} was made with other settings")
    return None


def source_change(names: OutputNames, closing: Mapping[str, Any]) -> str | None:
    """Whether a scan is not the one that was measured, in words.

    Its checksum is computed only if it looks touched: its size is the same, but a time is not. Times alone say nothing.

    Parameters
    ----------
    names : OutputNames
    closing : mapping
        JSON of the table of volumes.

    Returns
    -------
    str or None
        None for the same content, and for a scan that is out of reach now: no reason to measure it again.
    """
    path = names.scan.path
    now = stamp_of(path)
    if now is None:
        return None
    if now.size_bytes != closing.get("SourceBytes"):
        return f"{path} has {now.size_bytes} bytes, the scan that was measured had {closing.get('SourceBytes')}"
    digest = closing.get("SourceSHA256")
    if digest is None:  # of an earlier version: only what was written to after it was measured can be told
        newer = now.modified_ns > sidecar(names.morph).stat().st_mtime_ns
        return f"{path} is newer than its results, and they record no checksum to compare with" if newer else None
    if source_times(now).items() <= closing.items():
        return None
    try:
        same = sha256_of(path) == digest
    except OSError as error:
        _log.debug("%s: out of reach (%s)", path, error)
        return None
    return None if same else f"{path} has another content (SHA-256) than the scan that was measured"


def refresh_source_times(names: OutputNames) -> None:
    """Write down the times of a touched scan of the same content, so that the next run need not read it whole again.

    The record keeps its own time, for nothing that is made from it is out of date. It is left alone while another job
    has the scan.

    Parameters
    ----------
    names : OutputNames
        Of a scan whose outputs are complete.
    """
    path = sidecar(names.morph)
    closing, now = _record_or_none(path), stamp_of(names.scan.path)
    if closing is None or now is None or closing.get("SourceSHA256") is None:
        return
    if source_times(now).items() <= closing.items() or lock_file(names).exists():
        return
    try:
        written = path.stat()
        if record_source(names.scan.path, now).sha256 == closing["SourceSHA256"]:
            write_json(path, closing | source_times(now))
            os.utime(path, ns=(written.st_atime_ns, written.st_mtime_ns))
    except (OSError, ScanReadError) as error:  # it only costs reading the scan again next time
        _log.debug("%s: times of the source not noted (%s)", path, error)


def _record_or_none(path: Path) -> dict[str, Any] | None:
    try:
        return read_record(path)
    except (OSError, ValueError):
        return None


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
    CannotCreateError
        If the folder leads out of the output folder by a link.
    """
    check_writes_stay(names.anat_dir, names.output_dir)
    for path in reversed(names.files):
        path.unlink(missing_ok=True)
        for part in names.anat_dir.glob(f".{path.name}{PART_PATTERN[1:]}"):  # left by a run that was killed
            part.unlink(missing_ok=True)


def remove_unfinished(names: OutputNames) -> None:
    """Remove the derivatives of a scan if the file that closes the set is not among them.

    Parameters
    ----------
    names : OutputNames

    Raises
    ------
    OSError
        If a file cannot be removed.
    """
    if not sidecar(names.morph).exists():
        remove_outputs(names)


def take_over(former: OutputNames, names: OutputNames) -> None:
    """Copy the complete outputs of a scan from another output folder, with the corrected masks that were counted.

    Parameters
    ----------
    former : OutputNames
    names : OutputNames
        Where they go. Stale outputs there are removed; corrected masks there stay as they are.

    See Also
    --------
    find_link_out : what must have found nothing before.

    Raises
    ------
    OSError
        If a file cannot be read or written.
    """
    edited = [(old, new) for old, new in zip(former.edited, names.edited, strict=True) if not new.exists()]
    pairs = [(sidecar(old), sidecar(new)) for old, new in edited] + edited
    with undone_at_end(partial(remove_unfinished, names)):
        remove_outputs(names)
        for source, target in [*pairs, *zip(former.files, names.files, strict=True)]:
            if source.is_file():
                write_bytes(target, source.read_bytes())
    _log.info("%s: taken over from %s", names.scan.name, former.output_dir)

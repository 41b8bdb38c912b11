"""Whether the derivatives of a scan are complete and as they were written, and taking stale ones away."""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_hypo.bids.checksums import record_source, recorded_checksums, sha256_of, source_times, stamp_of
from bids_hypo.bids.claims import lock_file
from bids_hypo.bids.entities import LABEL_PATTERN
from bids_hypo.bids.links import way_out
from bids_hypo.bids.names import OutputNames, bids_uri, sidecar
from bids_hypo.bids.sidecars import read_record, write_json
from bids_hypo.errors import ScanReadError
from bids_hypo.structures import ICV
from bids_hypo.untrusted import is_plain_name

# Kinds of doubt.
NOT_DONE = "not done yet"
VERSION = "written by an earlier version"
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


def find_doubts(
    names: OutputNames, model_sha256s: Mapping[str, Collection[str]], *, settings: Mapping[str, Any] | None = None
) -> dict[str, Doubt]:
    """What of a scan has to be done (again), and why.

    Parameters
    ----------
    names : OutputNames
    model_sha256s : mapping of str to collection of str
        What is wanted (structures, the ICV); for each the checksums of the weights that it would depend on now.
    settings : mapping, optional
        If given, must equal the settings that the files were made with (`Provenance.settings`).

    Returns
    -------
    dict of str to Doubt
        Empty only if the table's JSON, which closes the set, names all files of everything wanted, each has the
        checksum written there, the sidecars name the same models and settings, and the source has the content that
        was measured.
    """
    closing = record_or_none(sidecar(names.morph))
    of_all = _doubt_of_scan(names, closing)
    if of_all or closing is None:
        return dict.fromkeys(model_sha256s, of_all or Doubt(RESULTS, "its record cannot be read"))
    of_table = doubt_of_files(names, closing, [names.morph.name])
    if of_table:
        return dict.fromkeys(model_sha256s, of_table)
    found = {}
    for item, digests in model_sha256s.items():
        doubt = _doubt_of_item(names, closing, item, {sha.lower() for sha in digests}, settings)
        if doubt:
            found[item] = doubt
    return found


def _doubt_of_scan(names: OutputNames, closing: Mapping[str, Any] | None) -> Doubt | None:
    """Why nothing that was measured in a scan is taken as it is."""
    away = _doubt_of_links(names, (names.anat_dir, names.figures_dir))
    if away:
        return away
    name = sidecar(names.morph).name
    if closing is None:
        if not os.path.lexists(sidecar(names.morph)):  # also where nobody may look: writing will say so
            return Doubt(NOT_DONE, f"there is no {name}")
        return Doubt(RESULTS, f"{name} cannot be read")
    if "Structures" not in closing:
        return Doubt(VERSION, f"{name} does not say which structures were measured, as version 0.1 did not")
    if not all(map(is_plain_name, recorded_checksums(closing) or {})):
        return Doubt(RESULTS, f"{name} lists what is no name of a file")
    if closing.get("Sources") != [bids_uri(names.scan)]:
        return Doubt(SOURCE, f"{name} names another source")
    changed = source_change(names, closing)
    return Doubt(SOURCE, changed) if changed else None


def _doubt_of_item(
    names: OutputNames, closing: Mapping[str, Any], item: str, wanted: set[str], settings: Mapping[str, Any] | None
) -> Doubt | None:
    name = sidecar(names.morph).name
    if item not in recorded_items(closing):
        return Doubt(NOT_DONE, f"{name} does not tell of {item}")
    for image in names.images_of(item):
        doubt = _doubt_of_sidecar(sidecar(image), names, wanted, settings) or _doubt_of_source(sidecar(image), closing)
        if doubt:
            return doubt
    return doubt_of_files(names, closing, files_of(names, item))


def recorded_items(closing: Mapping[str, Any]) -> tuple[str, ...]:
    """What the JSON of a table says was measured: structures, and the ICV."""
    structures = closing.get("Structures")
    return (*(structures if isinstance(structures, dict) else ()), *((ICV,) if ICV in closing else ()))


def files_of(names: OutputNames, item: str) -> list[str]:
    """Names of the images and sidecars of a structure, or of the ICV."""
    return [path.name for image in names.images_of(item) for path in (image, sidecar(image))]


def doubt_of_files(names: OutputNames, closing: Mapping[str, Any], wanted: Iterable[str]) -> Doubt | None:
    """Why files of a scan are not those that its closing record lists; None if they are."""
    files = recorded_checksums(closing) or {}
    for name in wanted:
        if name not in files:
            return Doubt(RESULTS, f"{name} is not listed in {sidecar(names.morph).name}")
        doubt = _doubt_of_file(names.anat_dir / name, files[name])
        if doubt:
            return doubt
    return None


def find_link_out(names: OutputNames) -> Doubt | None:
    """Whether a file that `take_over` would copy is a link out of its dataset, to what belongs to nobody's results."""
    return _doubt_of_links(
        names, (*copied_files(names), *(path for mask in corrected_files(names) for path in (mask, sidecar(mask))))
    )


def lost_by_taking_over(former: OutputNames, names: OutputNames) -> list[str]:
    """What is on record in `names` and not in `former`, whose record would stand in its place."""
    there = recorded_items(record_or_none(sidecar(former.morph)) or {})
    return [item for item in recorded_items(record_or_none(sidecar(names.morph)) or {}) if item not in there]


def corrected_files(names: OutputNames) -> list[Path]:
    """Where corrected masks of everything wanted, and of everything else on record, are looked for."""
    recorded = recorded_items(record_or_none(sidecar(names.morph)) or {})
    others = (item for item in recorded if LABEL_PATTERN.fullmatch(item))
    return [names.edited_of(item) for item in dict.fromkeys((*names.items, *others))]


def copied_files(names: OutputNames) -> list[Path]:
    """The files that a scan's closing record lists, and that record, the last to copy."""
    files = recorded_checksums(record_or_none(sidecar(names.morph)) or {}) or {}
    return [*(names.anat_dir / name for name in files if is_plain_name(name)), sidecar(names.morph)]


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
        if stat.S_ISREG(status.st_mode) and status.st_size == 0:
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
    content = record_or_none(path)
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


def _doubt_of_source(path: Path, closing: Mapping[str, Any]) -> Doubt | None:
    """Whether an image was measured in other bytes than the record tells of: it stayed while others were done again."""
    digest = (record_or_none(path) or {}).get("SourceSHA256")
    if digest == closing.get("SourceSHA256"):
        return None
    return Doubt(SOURCE, f"{path.name} is of another content of the scan than the rest")


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
    closing, now = record_or_none(path), stamp_of(names.scan.path)
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


def record_or_none(path: Path) -> dict[str, Any] | None:
    """A JSON file that this package wrote; None if it is absent or damaged."""
    try:
        return read_record(path)
    except (OSError, ValueError):
        return None

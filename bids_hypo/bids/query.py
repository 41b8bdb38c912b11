"""Finding the T1w scans of a BIDS dataset, and the metadata beside them."""

from __future__ import annotations

import difflib
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bids_hypo.bids.entities import DERIVATIVE_ENTITIES, MissingScan, Scan, shorten, split_name
from bids_hypo.bids.index import image_paths
from bids_hypo.bids.selection import Selection, normalise_labels, read_filter_file
from bids_hypo.errors import InvalidBidsError, NoInputError, NothingSelectedError, ScanReadError

__all__ = [
    "MissingScan",
    "Scan",
    "Selection",
    "check_dataset",
    "find_scans",
    "normalise_labels",
    "read_filter_file",
    "read_metadata",
    "select_subjects",
]

_log = logging.getLogger(__name__)


def check_dataset(bids_dir: str | Path, *, validate: bool = True) -> None:
    """Check quickly that a folder is a BIDS dataset; not the full validator, which takes minutes on large ones.

    Parameters
    ----------
    bids_dir : path-like
        The input folder.
    validate : bool
        If False, only check that the folder is there.

    Raises
    ------
    NoInputError
        If the folder does not exist or cannot be listed.
    InvalidBidsError
        If dataset_description.json is missing, unreadable or lacks Name or BIDSVersion, or there is no subject.
    """
    bids_dir = Path(bids_dir)
    subjects = _subjects_in(bids_dir)
    if not validate:
        return
    path = bids_dir / "dataset_description.json"
    hint = "Correct it, or give --skip-bids-validation if you are sure."
    try:
        description = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise InvalidBidsError(f"{path}: there is no such file; every BIDS dataset has one. {hint}") from error
    except (OSError, ValueError) as error:
        raise InvalidBidsError(f"{path}: cannot be read as JSON ({error}). {hint}") from error
    if not isinstance(description, dict):
        raise InvalidBidsError(f"{path}: found a {type(description).__name__}; expected an object. {hint}")
    missing = [key for key in ("Name", "BIDSVersion") if not description.get(key)]
    if missing:
        raise InvalidBidsError(f"{path}: {' and '.join(missing)} missing; BIDS requires both. {hint}")
    if description.get("DatasetType") == "derivative":
        _log.warning("%s: this is a derivative dataset; raw T1w images are expected.", bids_dir)
    if not subjects:
        raise InvalidBidsError(f"{bids_dir}: found no folder named sub-<label>; expected one per participant. {hint}")


def _subjects_in(bids_dir: Path) -> list[str]:
    if not bids_dir.is_dir():
        found = "it is a file" if bids_dir.exists() else "it does not exist"
        raise NoInputError(f"{bids_dir}: expected the folder of a BIDS dataset, but {found}. Check the path.")
    try:
        with os.scandir(bids_dir) as entries:
            return sorted(e.name.removeprefix("sub-") for e in entries if e.name.startswith("sub-") and e.is_dir())
    except OSError as error:
        raise NoInputError(f"{bids_dir}: the folder cannot be listed ({error}). Check its permissions.") from error


def select_subjects(bids_dir: str | Path, selection: Selection) -> list[str]:
    """Subjects of the dataset that a selection asks for.

    Parameters
    ----------
    bids_dir : path-like
    selection : Selection

    Returns
    -------
    list of str
        Labels without ``sub-``, sorted; only subjects that have a folder.

    Raises
    ------
    NoInputError
        If the folder does not exist.
    """
    return [label for label in _subjects_in(Path(bids_dir)) if selection.accepts_subject(label)]


def find_scans(
    bids_dir: str | Path, selection: Selection, *, database_dir: str | Path | None = None
) -> tuple[list[Scan], list[MissingScan]]:
    """Find the T1w images of the selected subjects.

    Parameters
    ----------
    bids_dir : path-like
        The dataset.
    selection : Selection
        What to look for. Only these subjects are indexed.
    database_dir : path-like, optional
        A pybids index on disk, reused if present, made for the whole dataset if not.

    Returns
    -------
    scans : list of Scan
        Every session, run and acquisition on its own, sorted by path.
    missing : list of MissingScan
        Subjects asked for by label that do not exist or have nothing that passes the filters, and subjects
        without any T1w image.

    Raises
    ------
    NothingSelectedError
        If no scan was found at all; the message says what the dataset has.
    """
    root = Path(os.path.abspath(bids_dir))
    subjects = select_subjects(root, selection)
    database = None if database_dir is None else Path(os.path.abspath(database_dir))
    found = _scans_of(image_paths(root, subjects, database_dir=database), root)
    scans = [scan for scan in found if selection.accepts(scan)]
    if not scans:
        raise NothingSelectedError(_nothing_message(root, selection, subjects, found))
    return scans, _missing(root, selection, subjects, found, scans)


def _scans_of(paths: Iterable[Path], root: Path) -> list[Scan]:
    """Turn paths into scans; names that are no raw T1w are left out with a warning, twins reduced to one."""
    scans: dict[str, Scan] = {}
    for path in sorted(paths):
        try:
            entities = _entities_of(path, root)
        except ValueError as error:
            _log.warning("%s: left out, not the name of a raw T1w image in BIDS: %s.", path, error)
            continue
        scan = Scan(path=path, entities=entities, suffix="T1w", dataset_root=root)
        twin = scans.get(scan.name)
        if twin is None:
            scans[scan.name] = scan
            continue
        kept, dropped = (scan, twin) if path.name.endswith(".gz") else (twin, scan)
        _log.warning("%s: there is also %s; only the first is used. Delete one.", kept.path, dropped.path.name)
        scans[scan.name] = kept
    return sorted(scans.values(), key=lambda scan: str(scan.path))


def _entities_of(path: Path, root: Path) -> dict[str, str]:
    entities, _, _ = split_name(path.name)
    folders = path.relative_to(root).parts[:-1]
    expected = [f"{key}-{entities[key]}" for key in ("sub", "ses") if key in entities] + ["anat"]
    if list(folders) != expected:
        raise ValueError(f"the name belongs in {'/'.join(expected)}, the file lies in {'/'.join(folders)}")
    derived = DERIVATIVE_ENTITIES & entities.keys()
    if derived:
        raise ValueError(f"{', '.join(sorted(derived))} only occurs in derivatives")
    return entities


def _missing(
    root: Path, selection: Selection, subjects: list[str], found: list[Scan], scans: list[Scan]
) -> list[MissingScan]:
    requested, there = set(selection.participant_labels), set(subjects)
    chosen = {scan.subject for scan in scans}
    by_subject: dict[str, list[Scan]] = {}
    for scan in found:
        by_subject.setdefault(scan.subject, []).append(scan)
    records = []
    for label in sorted((requested | there) - chosen):
        if label not in there:
            records.append(MissingScan(label, _absent_reason(root, label, selection)))
        elif label not in by_subject:
            reason = f"{root / f'sub-{label}'}: found no T1w image; expected at least one *_T1w.nii[.gz] in anat/."
            records.append(MissingScan(label, reason))
        elif label in requested:
            names = shorten(scan.path.name for scan in by_subject[label])
            reason = f"{root / f'sub-{label}'}: no T1w image passes the filters; there are {names}."
            records.append(MissingScan(label, reason))
        else:
            _log.info("sub-%s: has T1w images, but none that passes the filters.", label)
    return records


def _absent_reason(root: Path, label: str, selection: Selection) -> str:
    present = _subjects_in(root)
    if label in present:
        return f"sub-{label}: asked for by label, but the filter file leaves it out. Correct one of the two."
    close = difflib.get_close_matches(label, present, n=3) or present
    return f"{root / f'sub-{label}'}: there is no such folder; expected one per participant. There is {shorten(close)}."


def _nothing_message(root: Path, selection: Selection, subjects: list[str], found: list[Scan]) -> str:
    if not subjects:
        wanted = shorten(selection.participant_labels)
        return f"{root}: no subject passes the filters (asked for: {wanted}). There are {shorten(_subjects_in(root))}."
    if not found:
        return (
            f"{root}: no T1w image found for {len(subjects)} subject(s) ({shorten(subjects)}); expected files named "
            "sub-<label>[_ses-<label>]..._T1w.nii[.gz] in the anat folders."
        )
    parts = [f"{len(found)} T1w image(s) of {len({scan.subject for scan in found})} subject(s)"]
    for key, word in (("ses", "sessions"), ("acq", "acquisitions"), ("run", "runs"), ("rec", "reconstructions")):
        labels = {scan.entities.get(key, "(none)") for scan in found}
        parts.append(f"{word}: {shorten(labels)}")
    return f"{root}: no T1w image passes the filters. There are {'; '.join(parts)}. Change the filters."


def read_metadata(scan: Scan) -> dict[str, Any]:
    """Read the JSON metadata of a scan, by the inheritance principle of BIDS.

    Parameters
    ----------
    scan : Scan

    Returns
    -------
    dict
        Files nearer to the image, and among those of one folder the ones with more entities, win. Empty if
        there is none.

    Raises
    ------
    ScanReadError
        If one of the JSON files cannot be read; the message names it.
    """
    metadata: dict[str, Any] = {}
    for path in _sidecars_of(scan):
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError) as error:
            raise ScanReadError(f"{path}: cannot be read as JSON ({error}). Correct or remove the file.") from error
        if not isinstance(content, dict):
            raise ScanReadError(f"{path}: found a {type(content).__name__}; expected a JSON object. Correct the file.")
        metadata.update(content)
    return metadata


def _sidecars_of(scan: Scan) -> list[Path]:
    """JSON files that apply to a scan, the most general first."""
    folders = [scan.dataset_root]
    for part in scan.path.parent.relative_to(scan.dataset_root).parts:
        folders.append(folders[-1] / part)
    applicable: list[Path] = []
    for folder in folders:
        here: list[tuple[int, Path]] = []
        for path in sorted(folder.glob(f"*{scan.suffix}.json")):
            try:
                entities, suffix, _ = split_name(path.name)
            except ValueError:
                continue
            if suffix == scan.suffix and entities.items() <= scan.entities.items():
                here.append((len(entities), path))
        applicable += [path for _, path in sorted(here)]
    return applicable

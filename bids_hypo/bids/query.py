"""Finding the scans of a BIDS dataset that are to be measured."""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from bids_hypo.bids.entities import (
    RAW_LINK,
    T1_SUFFIXES,
    MissingScan,
    Scan,
    shorten,
)
from bids_hypo.bids.folders import GET_CONTENT, LOST, inside, tell_folders
from bids_hypo.bids.ignored import IGNORE_FILE, read_bidsignore, split_ignored
from bids_hypo.bids.image_files import image_paths
from bids_hypo.bids.image_names import scans_of
from bids_hypo.bids.selection import Selection, normalise_labels, read_filter_file
from bids_hypo.bids.subjects import check_dataset, is_derivative, select_subjects, subjects_in
from bids_hypo.bids.unmatched import near_labels, unmatched
from bids_hypo.errors import NothingSelectedError

__all__ = [
    "MissingScan",
    "Scan",
    "Selection",
    "check_dataset",
    "find_scans",
    "normalise_labels",
    "read_filter_file",
    "select_subjects",
]

_MAGNITUDE = "mag"  # part- of an image of which phase, real or imaginary part are kept too
_OTHER_PARTS = frozenset({"phase", "real", "imag", "imaginary"})

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Found:
    """The images of the subjects that were looked at.

    Attributes
    ----------
    scans : tuple of Scan
        What may be measured.
    parts, ignored : tuple of Path
        What may not: images of phase, real or imaginary part; images that .bidsignore lists.
    ignored_subjects : frozenset of str
        Labels of subjects that .bidsignore lists as a whole.
    words : str
        The kinds of image that were looked for.
    """

    scans: tuple[Scan, ...]
    parts: tuple[Path, ...]
    ignored: tuple[Path, ...]
    ignored_subjects: frozenset[str]
    words: str = " or ".join(T1_SUFFIXES)

    def left_out(self, subjects: Collection[str]) -> str:
        """Why images of these subjects may not be measured, as a sentence; empty if there are none."""
        reasons = []
        for paths, what in ((self.parts, "of phase, real or imaginary part"), (self.ignored, f"in {IGNORE_FILE}")):
            of_them = [path for path in paths if _subject_of(path) in subjects]
            if of_them:
                reasons.append(f"{of_them[0].name} is {what}" if len(of_them) == 1 else f"{len(of_them)} are {what}")
        return f" Left out: {'; '.join(reasons)}." if reasons else ""


def find_scans(
    bids_dir: str | Path, selection: Selection, *, suffixes: Collection[str] = T1_SUFFIXES,
    maps: Iterable[str | Path] = (), database_dir: str | Path | None = None, keep_index: bool = True,
) -> tuple[list[Scan], list[MissingScan]]:  # fmt: skip
    """Find the images of the selected subjects that something is measured on.

    Images of phase, real or imaginary part (``part-``), those that .bidsignore lists, and in datasets of derivatives
    those in the space of a template are left out, each with a line.

    Parameters
    ----------
    bids_dir : path-like
        The dataset, raw or of derivatives.
    selection : Selection
        What to look for. Only these subjects are indexed.
    suffixes : collection of str
        Of the images wanted.
    maps : iterable of path-like
        Further datasets of the same subjects. Of an image that has the same name in two, the first is taken.
    database_dir : path-like, optional
        A pybids index of `bids_dir` on disk, reused if present, made for the whole dataset if not.
    keep_index : bool
        If False, an index on disk is used, but none is made.

    Returns
    -------
    scans : list of Scan
        Every session, run, acquisition, reconstruction and echo on its own, sorted by path.
    missing : list of MissingScan
        Subjects asked for by label that do not exist or have nothing that passes the filters, subjects without any
        image to measure, and subjects with a folder that cannot be looked into; the scans in their other folders are
        found. A subject of which .bidsignore lists all images is missing only if asked for.

    Raises
    ------
    NothingSelectedError
        If no scan was found at all; the message says what the dataset has.
    """
    root = Path(os.path.abspath(bids_dir))
    subjects, words = select_subjects(root, selection), " or ".join(suffixes)
    closed = {place: why for place, why in tell_folders(root, subjects).items() if _is_wanted(place, root, selection)}
    database = None if database_dir is None else Path(os.path.abspath(database_dir))
    paths = image_paths(root, subjects, suffixes, database_dir=database, keep_index=keep_index)
    found = _sort_out([path for path in paths if not inside(path, closed)], root, subjects)
    found = replace(found, scans=_with_maps(found.scans, maps, selection, suffixes), words=words)
    scans = [scan for scan in found.scans if selection.accepts(scan)]
    if not scans and not closed:
        raise NothingSelectedError(_nothing_message(root, selection, subjects, found))
    anybody = replace(selection, participant_labels=())  # participants are told as missing
    for sentence in unmatched(anybody, (scan.entities for scan in found.scans), root):
        _log.warning("%s", sentence)
    shut: dict[str, list[str]] = {}
    for place, why in closed.items():
        shut.setdefault(place.relative_to(root).parts[0].removeprefix("sub-"), []).append(why)
    missing = [m for m in _missing(root, selection, subjects, found, scans) if m.subject not in shut]
    missing += [MissingScan(label, " ".join(reasons)) for label, reasons in shut.items()]
    return scans, sorted(missing, key=lambda one: one.subject)


def _with_maps(
    scans: tuple[Scan, ...], maps: Iterable[str | Path], selection: Selection, suffixes: Collection[str]
) -> tuple[Scan, ...]:
    """The scans of the dataset and those of further ones, each with the key that its dataset is linked by."""
    every, keys = {scan.name: scan for scan in scans}, {RAW_LINK}
    for place in maps:
        root = Path(os.path.abspath(place))
        key = _link_key(root, keys)
        keys.add(key)
        subjects = select_subjects(root, selection)
        closed = tell_folders(root, subjects)
        paths = (path for path in image_paths(root, subjects, suffixes) if not inside(path, closed))
        for scan in _sort_out(paths, root, subjects, derived=True).scans:
            first = every.setdefault(scan.name, replace(scan, link=key))
            if first.path != scan.path:
                _log.warning("%s: not measured, for %s has the same name.", scan.path, first.path)
    return tuple(sorted(every.values(), key=lambda scan: str(scan.path.relative_to(scan.dataset_root))))


def _link_key(root: Path, taken: Collection[str]) -> str:
    """A key for DatasetLinks made from the name of a folder."""
    name = re.sub("[^0-9A-Za-z]", "", root.name) or "maps"
    return next(key for key in (name, *(f"{name}{n}" for n in range(2, 10_000))) if key not in taken)


def _is_wanted(folder: Path, root: Path, selection: Selection) -> bool:
    """Whether a folder may hold scans of the sessions that were asked for by label."""
    _, *below = folder.relative_to(root).parts
    session = below[0].removeprefix("ses-") if below and below[0].startswith("ses-") else None
    return session is None or not selection.session_labels or session in selection.session_labels


def _sort_out(paths: Iterable[Path], root: Path, subjects: Iterable[str], *, derived: bool = False) -> _Found:
    """Divide images into what may be measured and what may not, and say how many the latter are."""
    spec = read_bidsignore(root)
    kept, ignored = split_ignored(paths, root, spec)
    every = scans_of(kept, root, derived=derived or is_derivative(root))
    part_of = {scan.path: scan.entities.get("part", _MAGNITUDE) for scan in every}
    parts = [path for path, part in part_of.items() if part.lower() in _OTHER_PARTS]
    odd = [path for path, part in part_of.items() if part != _MAGNITUDE and part.lower() not in _OTHER_PARTS]
    if odd:
        _log.warning("%s: %d image(s) with a part- that BIDS does not know, such as %s, are measured; BIDS calls the "
                     "magnitude part-mag.", root, len(odd), odd[0].relative_to(root))  # fmt: skip
    for left_out, why in (
        (parts, "of phase, real or imaginary part (part-...); only magnitude is measured"),
        (ignored, f"listed in {IGNORE_FILE}"),
    ):
        if left_out:
            example = left_out[0].relative_to(root)
            _log.warning("%s: %d image(s) left out, such as %s: %s.", root, len(left_out), example, why)
    return _Found(
        scans=tuple(scan for scan in every if scan.path not in set(parts)),
        parts=tuple(parts),
        ignored=tuple(ignored),
        ignored_subjects=frozenset(label for label in subjects if spec.match_file(f"sub-{label}/")),
    )


def _subject_of(path: Path) -> str:
    return path.name.partition("_")[0].removeprefix("sub-")


def _missing(
    root: Path, selection: Selection, subjects: list[str], found: _Found, scans: list[Scan]
) -> list[MissingScan]:
    requested, there = set(selection.participant_labels), set(subjects)
    pardoned = (found.ignored_subjects | {_subject_of(path) for path in found.ignored}) - requested
    chosen = {scan.subject for scan in scans}
    by_subject: dict[str, list[Scan]] = {}
    for scan in found.scans:
        by_subject.setdefault(scan.subject, []).append(scan)
    lost = {label for label in subjects_in(root, there=False) if selection.accepts_subject(label)}
    records = []
    for label in sorted((requested | there | lost) - chosen):
        if label in lost:
            records.append(MissingScan(label, f"{root / f'sub-{label}'}: {LOST}. {GET_CONTENT}"))
        elif label not in there:
            records.append(MissingScan(label, _absent_reason(root, label, selection)))
        elif label in by_subject and label not in requested:
            _log.info("sub-%s: has %s images, but none that passes the filters.", label, found.words)
        elif label in by_subject:
            names = shorten(scan.path.name for scan in by_subject[label])
            reason = f"{root / f'sub-{label}'}: no {found.words} image passes the filters; there are {names}."
            records.append(MissingScan(label, reason))
        elif label not in pardoned:
            reason = (
                f"{root / f'sub-{label}'}: found no {found.words} image; expected at least one "
                f"*_{found.words.partition(' ')[0]}.nii[.gz] in anat/.{found.left_out([label])}"
            )
            records.append(MissingScan(label, reason))
    return records


def _absent_reason(root: Path, label: str, selection: Selection) -> str:
    present = subjects_in(root)
    if label in present:
        return f"sub-{label}: asked for by label, but the filter file leaves it out. Correct one of the two."
    close = near_labels(label, present) or difflib.get_close_matches(label, present, n=3) or present
    return f"{root / f'sub-{label}'}: there is no such folder; expected one per participant. There is {shorten(close)}."


def _nothing_message(root: Path, selection: Selection, subjects: list[str], found: _Found) -> str:
    if not subjects:
        wanted = shorten(selection.participant_labels)
        lost = subjects_in(root, there=False)
        also = f" Links that lead nowhere: {shorten(lost)}. {GET_CONTENT}" if lost else ""
        there = shorten(subjects_in(root))
        return f"{root}: no subject passes the filters (asked for: {wanted}). There are {there}.{also}"
    left_out = found.left_out(subjects)
    if not found.scans:
        return (
            f"{root}: no {found.words} image found for {len(subjects)} subject(s) ({shorten(subjects)}); expected "
            f"files named sub-<label>[_ses-<label>]..._{found.words.partition(' ')[0]}.nii[.gz] in the anat folders."
            f"{left_out}"
        )
    parts = [f"{len(found.scans)} {found.words} image(s) of {len({s.subject for s in found.scans})} subject(s)"]
    for key, word in (("ses", "sessions"), ("acq", "acquisitions"), ("run", "runs"), ("rec", "reconstructions")):
        labels = {scan.entities.get(key, "(none)") for scan in found.scans}
        parts.append(f"{word}: {shorten(labels)}")
    there = "; ".join(parts)
    return f"{root}: no {found.words} image passes the filters. There are {there}. Change the filters.{left_out}"

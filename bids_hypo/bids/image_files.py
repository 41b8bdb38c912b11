"""Where the images of a dataset that may be measured lie, by the index on disk where there is one."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection
from pathlib import Path

from bids_hypo.bids.folders import sessions_in
from bids_hypo.bids.index import build_index, image_name, images_in, mtime_ns
from bids_hypo.bids.places import check_can_be_made
from bids_hypo.bids.stored_index import DATABASE_FILE, FEW, stored_images
from bids_hypo.errors import InvalidBidsError

_log = logging.getLogger(__name__)


def image_paths(
    bids_dir: Path, subjects: Collection[str], suffixes: Collection[str], *, database_dir: Path | None = None,
    keep_index: bool = True,
) -> list[Path]:  # fmt: skip
    """List the files of the given subjects that may be measured, by their suffix.

    Parameters
    ----------
    bids_dir : Path
        Absolute.
    subjects : collection of str
        Labels that exist in the dataset, without ``sub-``.
    suffixes : collection of str
        Of the images wanted.
    database_dir : Path, optional
        An index on disk: used if present, made for the whole dataset if not. Subjects that it does not know, and
        those whose folders have changed since, are looked up afresh.
    keep_index : bool
        If False, an index on disk is used, but none is made.

    Returns
    -------
    list of Path
        Absolute, sorted.

    Raises
    ------
    CannotCreateError
        If there is no index and `database_dir` cannot be made or written.
    """
    subjects = [label for label in subjects if label.isprintable()]  # sqlite cannot store names that are no UTF-8
    if not subjects:
        return []
    if database_dir is None:
        return _looked_up(bids_dir, subjects, suffixes)
    if not (database_dir / DATABASE_FILE).exists():
        check_can_be_made(database_dir, f"--bids-database-dir {database_dir}")
    stored, made_ns = stored_images(bids_dir, database_dir, subjects, suffixes, keep_index=keep_index)
    known: dict[str, list[Path]] = {label: [] for label in subjects}
    for path in stored:
        label = path.relative_to(bids_dir).parts[0].removeprefix("sub-")
        if label in known:
            known[label].append(path)
    afresh = [label for label, paths in known.items() if not paths or _changed(bids_dir / f"sub-{label}", made_ns)]
    n_changed = sum(bool(known[label]) for label in afresh)
    if n_changed > max(FEW, 0.1 * len(known)):
        _log.warning(
            "%s: %d of %d subjects have changed since this index was made and are looked up again; delete the folder "
            "to have it built anew.", database_dir, n_changed, len(known),
        )  # fmt: skip
    found = [path for label in known.keys() - set(afresh) for path in known[label]]
    if afresh:
        found += _looked_up(bids_dir, afresh, suffixes)
    return sorted(found)


def _looked_up(bids_dir: Path, subjects: Collection[str], suffixes: Collection[str]) -> list[Path]:
    """The images of some subjects by pybids; where it stumbles over a link that nobody may follow, by their folders."""
    try:
        return images_in(build_index(bids_dir, subjects, suffixes), suffixes)
    except InvalidBidsError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        _log.info("%s", error)
    places = [folder / "anat" for label in subjects for folder in (bids_dir / f"sub-{label}",
              *sessions_in(bids_dir / f"sub-{label}"))]  # fmt: skip
    return sorted(path for place in places for path in _images_below(place, suffixes))


def _images_below(folder: Path, suffixes: Collection[str]) -> list[Path]:
    name = re.compile(rf"sub-[^/]+{image_name(suffixes)}")
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in entries if name.fullmatch(entry.name)]
    except OSError:  # absent, or closed, which is told elsewhere
        return []


def _changed(folder: Path, since_ns: int) -> bool:
    """Whether files may have come or gone where the images of a subject lie."""
    try:
        with os.scandir(folder) as entries:
            sessions = [Path(entry.path) for entry in entries if entry.name.startswith("ses-")]
        places = [folder, folder / "anat", *sessions, *(session / "anat" for session in sessions)]
        return any(mtime_ns(place) > since_ns for place in places)
    except OSError:
        return True

"""The folders of subjects that cannot be looked into: links that lead nowhere, missing permission, failing disks."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterable
from pathlib import Path

LOST = "a link to a folder that is not there"
GET_CONTENT = "Get its content (datalad get), or remove the link."
CHECK_PERMISSIONS = "Check its permissions."
NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)

_log = logging.getLogger(__name__)


def leads_nowhere(place: Path | os.DirEntry[str]) -> bool:
    """Whether it is a link to what is not there, or to itself."""
    if not place.is_symlink():
        return False
    try:
        Path(place).stat()
    except OSError as error:
        return error.errno in NOWHERE
    return False


def may_be_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, or leads where nobody can look."""
    try:
        return entry.is_dir()
    except OSError:
        return not leads_nowhere(entry)


def closed_folders(root: Path, labels: Iterable[str]) -> dict[Path, str]:
    """Folders of subjects, sessions and images that cannot be looked into, with the reason of each.

    Parameters
    ----------
    root : Path
        A dataset, raw or of derivatives.
    labels : iterable of str
        Subjects that have a folder, without ``sub-``.
    """
    closed: dict[Path, str] = {}
    for label in labels:
        for folder in (subject := root / f"sub-{label}", *sessions_in(subject)):
            for place in (folder, folder / "anat"):
                why = _why_closed(place) if folder not in closed else None
                if why is not None:
                    closed[place] = f"{place}: the folder cannot be looked into ({why}). {CHECK_PERMISSIONS}"
    return closed


def sessions_in(subject: Path) -> list[Path]:
    """The folders of a subject's sessions; none where they cannot be listed."""
    try:
        with os.scandir(subject) as entries:
            return [Path(entry.path) for entry in entries if entry.name.startswith("ses-")]
    except OSError:
        return []


def _why_closed(folder: Path) -> str | None:
    """Why a folder can neither be listed nor entered; None if it can, or there is none."""
    try:
        with os.scandir(folder):
            pass
        os.stat(f"{folder}/.")  # noqa: PTH116 - a Path would lose the dot, which asks whether it can be entered
    except OSError as error:
        return None if error.errno in NOWHERE else str(error.strerror)
    return None


def tell_folders(root: Path, labels: Iterable[str]) -> dict[Path, str]:
    """Say which folders of some subjects lead nowhere or are closed, and return the latter; see `closed_folders`."""
    closed = closed_folders(root, labels)
    for reason in closed.values():
        _log.warning("%s Its images are not measured.", reason)
    for label in labels:
        for folder in (subject := root / f"sub-{label}", *sessions_in(subject)):
            places = [folder / "anat"] if folder == subject else [folder, folder / "anat"]
            for place in places:
                if folder not in closed and leads_nowhere(place):
                    _log.warning("%s: %s, so its images are not measured. %s", place, LOST, GET_CONTENT)
    return closed


def inside(path: Path, folders: Iterable[Path]) -> bool:
    """Whether a path lies in one of some folders."""
    return any(path.is_relative_to(folder) for folder in folders)

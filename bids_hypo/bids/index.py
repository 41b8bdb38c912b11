"""The pybids index of a dataset: only T1w images, only the subjects that are wanted, optionally kept on disk."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from bids_hypo.bids.entities import IMAGE_EXTENSIONS
from bids_hypo.errors import CannotCreateError, InvalidBidsError, UsageError

if TYPE_CHECKING:
    from bids.layout import BIDSLayout

DATABASE_FILE = "layout_index.sqlite"
_FEW = 20  # subjects that are asked for by name; a query of more is slower than one of all
_log = logging.getLogger(__name__)


def ignore_patterns(subjects: Collection[str] | None) -> list[re.Pattern[str]]:
    """What pybids must not walk into: other subjects, other folders of the dataset, other kinds of data.

    Parameters
    ----------
    subjects : collection of str or None
        Labels to index, without ``sub-``; None for all.

    Returns
    -------
    list of re.Pattern
        Searched by pybids in paths relative to the dataset, which begin with a slash.
    """
    wanted = r"[^/]+" if subjects is None else f"(?:{'|'.join(re.escape(label) for label in sorted(subjects))})"
    return [
        re.compile(rf"^/(?!sub-{wanted}(?:/|$))"),  # derivatives, sourcedata, code, other subjects, top-level files
        re.compile(r"^/sub-[^/]+/(?!anat(?:/|$)|ses-[^/]+(?:/|$))"),
        re.compile(r"^/sub-[^/]+/ses-[^/]+/(?!anat(?:/|$))"),
        re.compile(r"/anat/(?![^/]*_T1w\.nii(?:\.gz)?$)"),
    ]


def build_index(bids_dir: Path, subjects: Collection[str] | None, *, database_dir: Path | None = None) -> BIDSLayout:
    """Index the T1w images of a dataset with pybids.

    Parameters
    ----------
    bids_dir : Path
        Absolute.
    subjects : collection of str or None
        Labels to index; None for all.
    database_dir : Path, optional
        Where pybids keeps the index; in memory if not given.

    Returns
    -------
    BIDSLayout

    Raises
    ------
    InvalidBidsError
        If pybids cannot make sense of the dataset.
    """
    from bids.layout import BIDSLayout, BIDSLayoutIndexer

    indexer = BIDSLayoutIndexer(validate=False, index_metadata=False, ignore=ignore_patterns(subjects))
    database = None if database_dir is None else str(database_dir)
    try:
        return BIDSLayout(str(bids_dir), validate=False, indexer=indexer, database_path=database)
    except Exception as error:  # pybids raises many kinds, some of them plain AttributeErrors
        raise InvalidBidsError(
            f"{bids_dir}: pybids cannot index the dataset ({type(error).__name__}: {error}). "
            "Check dataset_description.json and the permissions of the folders."
        ) from error


def image_paths(bids_dir: Path, subjects: Collection[str], *, database_dir: Path | None = None) -> list[Path]:
    """List the T1w image files of the given subjects.

    Parameters
    ----------
    bids_dir : Path
        Absolute.
    subjects : collection of str
        Labels that exist in the dataset, without ``sub-``.
    database_dir : Path, optional
        An index on disk: used if present, made for the whole dataset if not. Subjects that it does not know, and
        those whose folders have changed since, are looked up afresh.

    Returns
    -------
    list of Path
        Absolute, sorted.
    """
    if not subjects:
        return []
    if database_dir is None:
        return _images_in(build_index(bids_dir, subjects))
    layout, made_ns = _stored_index(bids_dir, database_dir)
    known: dict[str, list[Path]] = {label: [] for label in subjects}
    for path in _images_in(layout, subjects if len(known) <= _FEW else None):
        label = path.relative_to(bids_dir).parts[0].removeprefix("sub-")
        if label in known:
            known[label].append(path)
    afresh = [label for label, paths in known.items() if not paths or _changed(bids_dir / f"sub-{label}", made_ns)]
    n_changed = sum(bool(known[label]) for label in afresh)
    if n_changed > max(_FEW, 0.1 * len(known)):
        _log.warning(
            "%s: %d of %d subjects have changed since this index was made and are looked up again; delete the folder "
            "to have it built anew.", database_dir, n_changed, len(known),
        )  # fmt: skip
    found = [path for label in known.keys() - set(afresh) for path in known[label]]
    if afresh:
        found += _images_in(build_index(bids_dir, afresh))
    return sorted(found)


def _changed(folder: Path, since_ns: int) -> bool:
    """Whether files may have come or gone where the images of a subject lie."""
    sessions = [Path(entry.path) for entry in os.scandir(folder) if entry.name.startswith("ses-")]
    places = [folder, folder / "anat", *sessions, *(session / "anat" for session in sessions)]
    return any(_mtime_ns(place) > since_ns for place in places)


def _mtime_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _images_in(layout: BIDSLayout, subjects: Collection[str] | None = None) -> list[Path]:
    only = {} if subjects is None else {"subject": list(subjects)}
    files = layout.get(return_type="filename", suffix="T1w", extension=list(IMAGE_EXTENSIONS), **only)
    return sorted(Path(name) for name in files)


def _stored_index(bids_dir: Path, database_dir: Path) -> tuple[BIDSLayout, int]:
    """Open the index on disk, or build it beside and rename it, so that parallel jobs never read half of one.

    The second value is the time that the dataset was looked at, in ns: the modification time of the index.
    """
    stored = database_dir / DATABASE_FILE
    if stored.exists():
        made_ns = _mtime_ns(stored)
        layout = _opened(bids_dir, database_dir)
        if layout is not None:
            return layout, made_ns
        _log.warning("%s: not a usable pybids index; it is built again.", stored)
    try:
        database_dir.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=".building-", dir=database_dir))
        begun_ns = _mtime_ns(building)  # by the clock of the file system
    except OSError as error:
        raise CannotCreateError(
            f"{database_dir}: the folder for the pybids index cannot be written ({error}). Choose another "
            "--bids-database-dir, or leave the option out."
        ) from error
    try:
        layout = build_index(bids_dir, None, database_dir=building)
        layout.connection_manager.session.close()
        os.utime(building / DATABASE_FILE, ns=(begun_ns, begun_ns))
        os.replace(building / DATABASE_FILE, stored)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return build_index(bids_dir, None, database_dir=database_dir), begun_ns


def _opened(bids_dir: Path, database_dir: Path) -> BIDSLayout | None:
    from bids.layout import BIDSLayout
    from sqlalchemy.exc import SQLAlchemyError

    try:
        layout = BIDSLayout(str(bids_dir), validate=False, database_path=str(database_dir))
    except (SQLAlchemyError, AttributeError, TypeError, ValueError) as error:
        _log.debug("%s: %s", database_dir, error)
        return None
    if Path(layout.root) != bids_dir:
        raise UsageError(
            f"{database_dir}: this pybids index was made for {layout.root}, not for {bids_dir}. Give another "
            "--bids-database-dir, or delete the folder to have it built again."
        )
    return layout

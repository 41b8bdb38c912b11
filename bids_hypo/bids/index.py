"""The pybids index of a dataset: only images to measure, of the subjects that are wanted, optionally kept on disk."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bids_hypo.bids.entities import IMAGE_EXTENSIONS, INPUT_SUFFIXES, PLAIN_SUFFIX
from bids_hypo.bids.places import check_can_be_made
from bids_hypo.ending import temporary_folder
from bids_hypo.errors import CannotCreateError, InvalidBidsError, UsageError

if TYPE_CHECKING:
    from bids.layout import BIDSLayout

DATABASE_FILE = "layout_index.sqlite"
INDEX_VERSION = 2  # of what we index; an index of version 1 (which sqlite calls 0) holds T1w images only
_PLAIN_PATH = re.compile(r"[\w/.,:=@~+ -]*")  # what pybids can make the address of a database of
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
        re.compile(rf"/anat/(?![^/]*_(?:{'|'.join(INPUT_SUFFIXES)})\.nii(?:\.gz)?$)"),
    ]


def build_index(bids_dir: Path, subjects: Collection[str] | None, *, database_dir: Path | None = None) -> BIDSLayout:
    """Index the images of a dataset that may be measured with pybids.

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


def image_paths(
    bids_dir: Path, subjects: Collection[str], *, database_dir: Path | None = None, keep_index: bool = True
) -> list[Path]:
    """List the files of the given subjects that may be measured, by their suffix.

    Parameters
    ----------
    bids_dir : Path
        Absolute.
    subjects : collection of str
        Labels that exist in the dataset, without ``sub-``.
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
    if not subjects:
        return []
    if database_dir is None:
        return _images_in(build_index(bids_dir, subjects))
    if not (database_dir / DATABASE_FILE).exists():
        check_can_be_made(database_dir, f"--bids-database-dir {database_dir}")
    stored, made_ns = _stored_images(bids_dir, database_dir, subjects, keep_index=keep_index)
    known: dict[str, list[Path]] = {label: [] for label in subjects}
    for path in stored:
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
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _images_in(layout: BIDSLayout, subjects: Collection[str] | None = None) -> list[Path]:
    only = {} if subjects is None else {"subject": list(subjects)}
    files = layout.get(return_type="filename", suffix=list(INPUT_SUFFIXES), extension=list(IMAGE_EXTENSIONS), **only)
    return sorted(Path(name) for name in files)


def _stored_images(
    bids_dir: Path, database_dir: Path, subjects: Collection[str], *, keep_index: bool
) -> tuple[list[Path], int]:
    """The images by the index on disk, which is made if it cannot be used; those of all subjects if many are wanted.

    The second value is the time that the dataset was looked at, in ns: the modification time of the index.
    """
    few = subjects if len(subjects) <= _FEW else None
    stored = database_dir / DATABASE_FILE
    made_ns = _mtime_ns(stored)
    if stored.exists() and not os.access(database_dir, os.W_OK):  # one that cannot be used cannot be replaced either
        keep_index = False
    with _plain_name(database_dir) as folder:
        layout = _opened(bids_dir, database_dir, folder)
        if layout is None and not keep_index:
            return [], made_ns
        if layout is None:
            made_ns = _build_stored(bids_dir, database_dir)
            layout = build_index(bids_dir, None, database_dir=folder)
        return _images_in(layout, few), made_ns


def _build_stored(bids_dir: Path, database_dir: Path) -> int:
    """Build the index beside and rename it, so that parallel jobs never read half of one; returns its time in ns."""
    with ExitStack() as stack:
        try:
            database_dir.mkdir(parents=True, exist_ok=True)
            building = stack.enter_context(temporary_folder(".building-", database_dir))
            begun_ns = _mtime_ns(building)  # by the clock of the file system
        except OSError as error:
            raise CannotCreateError(
                f"{database_dir}: the folder for the pybids index cannot be written ({error}). Choose another "
                "--bids-database-dir, or leave the option out."
            ) from error
        made = building / DATABASE_FILE
        with _plain_name(building) as folder:
            layout = build_index(bids_dir, None, database_dir=folder)
            layout.connection_manager.session.close()
        with closing(sqlite3.connect(made)) as database:
            database.execute(f"PRAGMA user_version = {INDEX_VERSION}")
        os.utime(made, ns=(begun_ns, begun_ns))
        os.replace(made, database_dir / DATABASE_FILE)
    return begun_ns


@contextmanager
def _plain_name(folder: Path) -> Iterator[Path]:
    """A path to a folder that pybids can put into the address of a database, in which ? and % have a meaning."""
    if _PLAIN_PATH.fullmatch(str(folder)):
        yield folder
        return
    with temporary_folder() as place:
        if not _PLAIN_PATH.fullmatch(str(place)):
            raise UsageError(
                f"--bids-database-dir {folder}: pybids keeps no index in a folder with such signs (?, %, #) in its "
                "path; choose another."
            )
        link = place / "index"
        link.symlink_to(folder)
        yield link


def _opened(bids_dir: Path, database_dir: Path, folder: Path) -> BIDSLayout | None:
    """The index of `database_dir`, which pybids reaches as `folder`; None if there is none that can be used."""
    from bids.layout import BIDSLayout
    from sqlalchemy.exc import SQLAlchemyError

    stored = database_dir / DATABASE_FILE
    if not stored.exists():
        return None
    try:
        if not _holds_all_kinds(stored):
            _log.info("%s: made by an earlier version, for T1w images only; it is built again.", stored)
            return None
        layout = BIDSLayout(str(bids_dir), validate=False, database_path=str(folder))
    except (SQLAlchemyError, sqlite3.Error, AttributeError, TypeError, ValueError) as error:
        _log.debug("%s: %s", stored, error)
        _log.warning("%s: not a usable pybids index; it is built again.", stored)
        return None
    if Path(layout.root) != bids_dir:
        raise UsageError(
            f"{database_dir}: this pybids index was made for {layout.root}, not for {bids_dir}. Give another "
            "--bids-database-dir, or delete the folder to have it built again."
        )
    return layout


def _holds_all_kinds(stored: Path) -> bool:
    """Whether an index was made for all kinds of image: by this version, or by another program for everything."""
    with closing(sqlite3.connect(stored)) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        names = (name for (name,) in database.execute("SELECT filename FROM files"))
        return version >= INDEX_VERSION or not all(f"_{PLAIN_SUFFIX}.nii" in str(name) for name in names)

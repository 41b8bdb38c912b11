"""The pybids index of a dataset: only images to measure, of the subjects that are wanted, optionally kept on disk."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bids_hypo.bids.entities import IMAGE_EXTENSIONS, T1_SUFFIXES
from bids_hypo.bids.folders import NOWHERE, closed_folders, sessions_in
from bids_hypo.bids.places import check_can_be_made
from bids_hypo.bids.subjects import subjects_in
from bids_hypo.ending import temporary_folder
from bids_hypo.errors import CannotCreateError, InvalidBidsError, UsageError
from bids_hypo.files import open_file

if TYPE_CHECKING:
    from bids.layout import BIDSLayout

DATABASE_FILE = "layout_index.sqlite"
INDEX_VERSION = 3  # of what we index; 1 (which sqlite calls 0) and 2 hold T1-weighted images only
_FOLDERS = re.compile(r"sub-[^/]+(?:/ses-[^/]+)?/anat")
_PLAIN_PATH = re.compile(r"[\w/.,:=@~+ -]*")  # what pybids can make the address of a database of
_NO_CONFIG = ".bids_hypo-none"  # pybids would take settings from a file of any folder
_FEW = 20  # subjects that are asked for by name; a query of more is slower than one of all
_log = logging.getLogger(__name__)


def _image_name(suffixes: Collection[str] | None) -> str:
    """The end of the names of images with these suffixes, or any, as a regular expression."""
    kinds = "[A-Za-z0-9]+" if suffixes is None else f"(?:{'|'.join(map(re.escape, suffixes))})"
    return rf"_{kinds}\.nii(?:\.gz)?"


def ignore_patterns(
    subjects: Collection[str] | None, closed: Iterable[str] = (), suffixes: Collection[str] | None = None
) -> list[re.Pattern[str]]:
    """What pybids must not walk into: other subjects, other folders of the dataset, other kinds of data.

    Parameters
    ----------
    subjects : collection of str or None
        Labels to index, without ``sub-``; None for all.
    closed : iterable of str
        Folders that cannot be looked into, relative to the dataset; pybids would end with an error.
    suffixes : collection of str or None
        Suffixes of the images to index; None for all.

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
        re.compile(rf"/anat/(?![^/]*{_image_name(suffixes)}$)"),
        re.compile("[\ud800-\udfff]"),  # not in UTF-8: no name in BIDS, and sqlite cannot store it
        *(re.compile(rf"^/{re.escape(folder)}(?:/|$)") for folder in closed),
    ]


def build_index(
    bids_dir: Path, subjects: Collection[str] | None, suffixes: Collection[str] | None = None, *,
    database_dir: Path | None = None,
) -> BIDSLayout:  # fmt: skip
    """Index the images of a dataset that may be measured with pybids.

    Parameters
    ----------
    bids_dir : Path
        Absolute.
    subjects : collection of str or None
        Labels to index; None for all.
    suffixes : collection of str or None
        Suffixes of the images to index; None for all.
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

    closed = closed_folders(bids_dir, subjects_in(bids_dir) if subjects is None else subjects)
    ignore = ignore_patterns(subjects, [place.relative_to(bids_dir).as_posix() for place in closed], suffixes)
    indexer = BIDSLayoutIndexer(validate=False, index_metadata=False, ignore=ignore, config_filename=_NO_CONFIG)
    database = None if database_dir is None else str(database_dir)
    try:
        return BIDSLayout(str(bids_dir), validate=False, indexer=indexer, database_path=database)
    except Exception as error:  # pybids raises many kinds, some of them plain AttributeErrors
        raise InvalidBidsError(
            f"{bids_dir}: pybids cannot index the dataset ({type(error).__name__}: {error}). "
            "Check dataset_description.json and the permissions of the folders."
        ) from error


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
    stored, made_ns = _stored_images(bids_dir, database_dir, subjects, suffixes, keep_index=keep_index)
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
        found += _looked_up(bids_dir, afresh, suffixes)
    return sorted(found)


def _looked_up(bids_dir: Path, subjects: Collection[str], suffixes: Collection[str]) -> list[Path]:
    """The images of some subjects by pybids; where it stumbles over a link that nobody may follow, by their folders."""
    try:
        return _images_in(build_index(bids_dir, subjects, suffixes), suffixes)
    except InvalidBidsError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        _log.info("%s", error)
    places = [folder / "anat" for label in subjects for folder in (bids_dir / f"sub-{label}",
              *sessions_in(bids_dir / f"sub-{label}"))]  # fmt: skip
    return sorted(path for place in places for path in _images_below(place, suffixes))


def _images_below(folder: Path, suffixes: Collection[str]) -> list[Path]:
    name = re.compile(rf"sub-[^/]+{_image_name(suffixes)}")
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
        return any(_mtime_ns(place) > since_ns for place in places)
    except OSError:
        return True


def _mtime_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        if error.errno in NOWHERE:
            return 0
        raise


def _images_in(layout: BIDSLayout, suffixes: Collection[str], subjects: Collection[str] | None = None) -> list[Path]:
    only = {} if subjects is None else {"subject": list(subjects)}
    files = layout.get(return_type="filename", suffix=list(suffixes), extension=list(IMAGE_EXTENSIONS), **only)
    return sorted(Path(name) for name in files)


def _stored_images(
    bids_dir: Path, database_dir: Path, subjects: Collection[str], suffixes: Collection[str], *, keep_index: bool
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
        images = _read_stored(bids_dir, database_dir, folder, suffixes, few)
        if images is None and not keep_index:
            return [], made_ns
        if images is not None:
            return images, made_ns
        try:
            made_ns = _build_stored(bids_dir, database_dir)
            return _images_in(build_index(bids_dir, None, database_dir=folder), suffixes, few), made_ns
        except InvalidBidsError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            _log.warning("%s The index is not kept.", error)
            return [], made_ns


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


def _read_stored(
    bids_dir: Path, database_dir: Path, folder: Path, suffixes: Collection[str], subjects: Collection[str] | None
) -> list[Path] | None:
    """The images by the index of `database_dir`, which pybids reaches as `folder`; None if it cannot be used.

    Anybody may have written there: an index that pybids cannot read, or that lists a file elsewhere, is none.
    """
    from bids.layout import BIDSLayout

    stored = database_dir / DATABASE_FILE
    if not os.path.lexists(stored):
        return None
    try:
        open_file(stored).close()
        if not _holds_all_kinds(stored):
            _log.info("%s: made by an earlier version, for T1-weighted images only; it is built again.", stored)
            return None
        layout = BIDSLayout(str(bids_dir), validate=False, database_path=str(folder))
        root, images = Path(layout.root), _images_in(layout, suffixes, subjects)
    except Exception:  # noqa: BLE001 - pybids and SQLAlchemy raise many kinds for what they did not expect
        in_full = _log.isEnabledFor(logging.DEBUG)
        _log.warning("%s: not a usable pybids index; it is built again.", stored, exc_info=in_full)
        return None
    if root != bids_dir:
        raise UsageError(
            f"{database_dir}: this pybids index was made for {root}, not for {bids_dir}. Give another "
            "--bids-database-dir, or delete the folder to have it built again."
        )
    elsewhere = [path for path in images if not _is_place_of_image(path, bids_dir)]
    if elsewhere:
        _log.warning("%s: lists %s, which is no place of an image in %s; it is built again.", stored, elsewhere[0],
                     bids_dir)  # fmt: skip
        return None
    return images


def _is_place_of_image(path: Path, bids_dir: Path) -> bool:
    """Whether a path is that of a file in a folder of images, by its name; links are the user's own."""
    if not path.is_relative_to(bids_dir):
        return False
    folders = path.relative_to(bids_dir).parts[:-1]
    return bool(_FOLDERS.fullmatch("/".join(folders)))


def _holds_all_kinds(stored: Path) -> bool:
    """Whether an index was made for all kinds of image: by this version, or by another program for everything."""
    with closing(sqlite3.connect(stored)) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        names = (name for (name,) in database.execute("SELECT filename FROM files"))
        ours = re.compile(rf".*{_image_name(T1_SUFFIXES)}")
        return version >= INDEX_VERSION or (version == 0 and not all(ours.fullmatch(str(name)) for name in names))

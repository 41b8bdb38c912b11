"""The pybids index of a dataset on disk: made once, read by later runs; one that cannot be used is made again."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from bids_hypo.bids.entities import T1_SUFFIXES
from bids_hypo.bids.index import build_index, image_name, images_in, mtime_ns
from bids_hypo.ending import temporary_folder
from bids_hypo.errors import CannotCreateError, InvalidBidsError, UsageError
from bids_hypo.files import open_file

DATABASE_FILE = "layout_index.sqlite"
INDEX_VERSION = 3  # of what we index; 1 (which sqlite calls 0) and 2 hold T1-weighted images only
FEW = 20  # subjects that are asked for by name; a query of more is slower than one of all
_FOLDERS = re.compile(r"sub-[^/]+(?:/ses-[^/]+)?/anat")
_PLAIN_PATH = re.compile(r"[\w/.,:=@~+ -]*")  # what pybids can make the address of a database of
_log = logging.getLogger(__name__)


def stored_images(
    bids_dir: Path, database_dir: Path, subjects: Collection[str], suffixes: Collection[str], *, keep_index: bool
) -> tuple[list[Path], int]:
    """The images by the index on disk, which is made if it cannot be used; those of all subjects if many are wanted.

    The second value is the time that the dataset was looked at, in ns: the modification time of the index.
    """
    few = subjects if len(subjects) <= FEW else None
    stored = database_dir / DATABASE_FILE
    made_ns = mtime_ns(stored)
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
            return images_in(build_index(bids_dir, None, database_dir=folder), suffixes, few), made_ns
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
            begun_ns = mtime_ns(building)  # by the clock of the file system
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
        root, images = Path(layout.root), images_in(layout, suffixes, subjects)
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
        ours = re.compile(rf".*{image_name(T1_SUFFIXES)}")
        return version >= INDEX_VERSION or (version == 0 and not all(ours.fullmatch(str(name)) for name in names))

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
        An index on disk: used if present, made for the whole dataset if not. Subjects that it does not know
        (added later) are looked up afresh; other changes since then are not seen until the folder is deleted.

    Returns
    -------
    list of Path
        Absolute, sorted.
    """
    if not subjects:
        return []
    if database_dir is None:
        return _images_in(build_index(bids_dir, subjects))
    known = _images_in(_stored_index(bids_dir, database_dir))
    folders = {bids_dir / f"sub-{label}": label for label in subjects}
    found: list[Path] = []
    unseen = dict(folders)
    for path in known:
        folder = bids_dir / path.relative_to(bids_dir).parts[0]
        if folder in folders and os.path.lexists(path):
            found.append(path)
            unseen.pop(folder, None)
    if unseen:
        found += _images_in(build_index(bids_dir, list(unseen.values())))
    return sorted(found)


def _images_in(layout: BIDSLayout) -> list[Path]:
    files = layout.get(return_type="filename", suffix="T1w", extension=list(IMAGE_EXTENSIONS))
    return sorted(Path(name) for name in files)


def _stored_index(bids_dir: Path, database_dir: Path) -> BIDSLayout:
    """Open the index on disk, or build it beside and rename it, so that parallel jobs never read half of one."""
    stored = database_dir / DATABASE_FILE
    if stored.exists():
        layout = _opened(bids_dir, database_dir)
        if layout is not None:
            return layout
        _log.warning("%s: not a usable pybids index; it is built again.", stored)
    try:
        database_dir.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=".building-", dir=database_dir))
    except OSError as error:
        raise CannotCreateError(
            f"{database_dir}: the folder for the pybids index cannot be written ({error}). Choose another "
            "--bids-database-dir, or leave the option out."
        ) from error
    try:
        layout = build_index(bids_dir, None, database_dir=building)
        layout.connection_manager.session.close()
        os.replace(building / DATABASE_FILE, stored)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return build_index(bids_dir, None, database_dir=database_dir)


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

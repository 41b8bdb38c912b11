"""The pybids index of a dataset: only images to measure, of the subjects that are wanted."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from bids_hypo.bids.entities import IMAGE_EXTENSIONS
from bids_hypo.bids.folders import NOWHERE, closed_folders
from bids_hypo.bids.subjects import subjects_in
from bids_hypo.errors import InvalidBidsError

if TYPE_CHECKING:
    from bids.layout import BIDSLayout

_NO_CONFIG = ".bids_hypo-none"  # pybids would take settings from a file of any folder


def image_name(suffixes: Collection[str] | None) -> str:
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
        re.compile(rf"/anat/(?![^/]*{image_name(suffixes)}$)"),
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


def mtime_ns(path: Path) -> int:
    """When a file was changed last; 0 if it is not there."""
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        if error.errno in NOWHERE:
            return 0
        raise


def images_in(layout: BIDSLayout, suffixes: Collection[str], subjects: Collection[str] | None = None) -> list[Path]:
    """The images with these suffixes in an index, of all subjects or of some, sorted."""
    only = {} if subjects is None else {"subject": list(subjects)}
    files = layout.get(return_type="filename", suffix=list(suffixes), extension=list(IMAGE_EXTENSIONS), **only)
    return sorted(Path(name) for name in files)

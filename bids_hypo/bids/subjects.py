"""The folder of a dataset and those of its subjects: whether they are there and what they are."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from bids_hypo.bids.folders import GET_CONTENT, LOST, leads_nowhere, may_be_folder
from bids_hypo.bids.selection import Selection
from bids_hypo.errors import InvalidBidsError, NoInputError
from bids_hypo.files import DAMAGED, read_json

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
    subjects = subjects_in(bids_dir)
    if not validate:
        return
    path = bids_dir / "dataset_description.json"
    hint = "Correct it, or give --skip-bids-validation if you are sure."
    try:
        description = read_json(path)
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
        _log.info("%s: a dataset of derivatives; images with space- and desc- are measured, too.", bids_dir)
    lost = subjects_in(bids_dir, there=False)
    if not subjects and lost:
        raise InvalidBidsError(f"{bids_dir / f'sub-{lost[0]}'}: {LOST}, and no subject has another. {GET_CONTENT}")
    if not subjects:
        raise InvalidBidsError(f"{bids_dir}: found no folder named sub-<label>; expected one per participant. {hint}")


def is_derivative(bids_dir: Path) -> bool:
    """Whether a dataset says that it holds derivatives; older ones only name the pipeline that made them."""
    try:
        description = read_json(bids_dir / "dataset_description.json")
        kind = description.get("DatasetType")
        return bool(kind == "derivative" or (kind is None and "PipelineDescription" in description))
    except DAMAGED:
        return False


def subjects_in(bids_dir: Path, *, there: bool = True) -> list[str]:
    """Labels of the subjects that have a folder; if not `there`, of those that only have a link that leads nowhere."""
    try:
        if not bids_dir.is_dir():
            found = "it is a file" if bids_dir.exists() else "it does not exist"
            raise NoInputError(f"{bids_dir}: expected the folder of a BIDS dataset, but {found}. Check the path.")
        with os.scandir(bids_dir) as entries:
            named = [entry for entry in entries if entry.name.startswith("sub-")]
            kept = [entry for entry in named if (may_be_folder(entry) if there else leads_nowhere(entry))]
            return sorted(entry.name.removeprefix("sub-") for entry in kept)
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
    return [label for label in subjects_in(Path(bids_dir)) if selection.accepts_subject(label)]

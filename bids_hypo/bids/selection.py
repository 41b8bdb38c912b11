"""Which scans of a dataset are wanted: labels from the command line and filter files, and the test against a scan."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bids_hypo.bids.entities import LABEL_PATTERN, SHORT_NAMES, T1_SUFFIXES, Scan, labels_equal, shorten
from bids_hypo.bids.tsv import MISSING, read_lines, read_table
from bids_hypo.errors import NoInputError, UsageError
from bids_hypo.files import read_json

_log = logging.getLogger(__name__)

NUMBERED_ENTITIES = frozenset({"run", "echo", "flip", "inv", "chunk"})
_FIXED_KEYS = {"datatype": ("anat",), "suffix": T1_SUFFIXES}
_WORDS = re.compile(r"[^\s,;]+")
_FILTER_ENTRY = "t1w"
_ABSENT = ("Query.NONE", "<Query.NONE: 1>")
_PRESENT = ("*", "Query.ANY", "<Query.ANY: 2>", "Query.REQUIRED")


@dataclass(frozen=True)
class Selection:
    """What to process. Empty fields select everything.

    Attributes
    ----------
    participant_labels, session_labels, run_labels, acquisitions : tuple of str
        Labels without their prefix (see `normalise_labels`). Runs are compared as numbers: 1 selects run-01.
    filters : dict
        The ``t1w`` entry of a filter file (see `read_filter_file`); other than T1-weighted images pass it.
    """

    participant_labels: tuple[str, ...] = ()
    session_labels: tuple[str, ...] = ()
    run_labels: tuple[str, ...] = ()
    acquisitions: tuple[str, ...] = ()
    filters: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("participant_labels", "session_labels", "run_labels", "acquisitions"):
            object.__setattr__(self, name, tuple(getattr(self, name) or ()))
        object.__setattr__(self, "filters", dict(self.filters or {}))
        _check_filters(self.filters, "the filter")

    def accepts_subject(self, label: str) -> bool:
        """Whether a subject label (without ``sub-``) passes the participant labels and the filter."""
        if self.participant_labels and label not in self.participant_labels:
            return False
        return all(
            _accepts(value, label, as_number=False)
            for key, value in self.filters.items()
            if SHORT_NAMES.get(key, key) == "sub"
        )

    def accepts(self, scan: Scan) -> bool:
        """Whether a scan passes every filter. A filter on an entity that the scan lacks does not pass."""
        wanted = {"ses": self.session_labels, "run": self.run_labels, "acq": self.acquisitions}
        for key, labels in wanted.items():
            if labels and not _accepts(list(labels), scan.entities.get(key), as_number=key in NUMBERED_ENTITIES):
                return False
        for key, value in self.filters.items() if scan.is_t1 else ():
            short = SHORT_NAMES.get(key, key)
            if not _accepts(value, _found(scan, short), as_number=short in NUMBERED_ENTITIES):
                return False
        return self.accepts_subject(scan.subject)


def _found(scan: Scan, key: str) -> str | None:
    """What a scan has for a key of a filter file."""
    if key == "extension":
        return ".nii.gz" if scan.path.name.endswith(".gz") else ".nii"
    return {"datatype": "anat", "suffix": scan.suffix}.get(key) or scan.entities.get(key)


def _accepts(wanted: Any, found: str | None, *, as_number: bool) -> bool:
    if isinstance(wanted, list | tuple):
        return any(_accepts(item, found, as_number=as_number) for item in wanted)
    if wanted is None or wanted in _ABSENT:
        return found is None
    if wanted in _PRESENT:
        return found is not None
    if wanted == "Query.OPTIONAL":
        return True
    return found is not None and labels_equal(wanted, found, as_number=as_number)


def normalise_labels(values: Iterable[str] | None, prefix: str) -> tuple[str, ...]:
    """Turn what a user typed into plain labels.

    Parameters
    ----------
    values : iterable of str or None
        Labels with or without ``<prefix>-``, also several with commas between. With prefix ``sub``, a value may also
        be a text file with labels, one or several a line (empty lines, what follows a # and a ``participant_id``
        heading are skipped), or a table with the column ``participant_id``. A value that could be a label is taken
        for one: write ``./name`` for a file without an extension.
    prefix : str
        ``sub``, ``ses``, ``run`` or ``acq``, with or without the dash.

    Returns
    -------
    tuple of str
        Without prefix, without repeats, in the order given.

    Raises
    ------
    NoInputError
        If a value looks like a file that is not there.
    TableError
        If a file cannot be read; see `bids_hypo.bids.tsv.read_table`.
    UsageError
        If a label has characters that BIDS does not allow, or a file holds no label.
    """
    prefix = prefix.rstrip("-")
    return tuple(dict.fromkeys(label for value in values or () for label in _labels_of(str(value), prefix)))


def _labels_of(value: str, prefix: str) -> list[str]:
    label = value.strip().removeprefix(f"{prefix}-")
    if LABEL_PATTERN.fullmatch(label):
        return [label]
    may_be_file = prefix == "sub"
    if may_be_file and Path(value).is_file():
        return _labels_of_file(Path(value), prefix)
    parts = [part for part in value.split(",") if part.strip()]
    if parts and "," in value:  # no label has a comma in it
        return [label for part in parts for label in _labels_of(part, prefix)]
    if may_be_file and ("/" in value or Path(value).suffix):
        return _labels_of_file(Path(value), prefix)
    raise UsageError(_bad_label(value, prefix, "on the command line"))


def _labels_of_file(path: Path, prefix: str) -> list[str]:
    if not path.is_file():
        raise NoInputError(f"{path}: there is no such file; expected a text file with labels, one or several a line.")
    lines = [(n, line.partition("#")[0]) for n, line in enumerate(read_lines(path), 1)]
    words = [(n, _WORDS.findall(line)) for n, line in lines if line.strip()]
    heading = words[0][1] if words else []
    if "participant_id" in heading and len(heading) > 1 and re.search("[\t,;]", lines[words[0][0] - 1][1]):
        column = read_table(path, ("participant_id",))["participant_id"].fillna(MISSING)
        words = [(n, [text]) for n, text in enumerate(column, 2)]
    elif heading[:1] == ["participant_id"]:
        words = [(n, of_line if len(heading) == 1 else of_line[:1]) for n, of_line in words[1:]]
    labels = [(n, word.removeprefix(f"{prefix}-")) for n, of_line in words for word in of_line]
    for n, label in labels:
        if not LABEL_PATTERN.fullmatch(label):
            raise UsageError(_bad_label(label, prefix, f"in {path}, line {n},"))
    if not labels:
        raise UsageError(f"{path}: found no label; expected a text file with labels, one or several a line.")
    return [label for _, label in labels]


def _bad_label(value: str, prefix: str, place: str) -> str:
    return (
        f"'{value}' {place} is not a BIDS label; expected letters, digits or '+', with or without '{prefix}-' in "
        f"front, such as 01 or {prefix}-01."
    )


def read_filter_file(path: str | Path) -> dict[str, Any]:
    """Read a BIDS filter file in the form of fMRIPrep and return its ``t1w`` entry.

    Parameters
    ----------
    path : path-like
        JSON such as ``{"t1w": {"session": "02", "acquisition": null, "run": [1, 2]}}``: null means the entity
        must be absent, ``"*"`` that it must be present, a list that one of its values must match.

    Returns
    -------
    dict
        Empty, with a warning, if there is no ``t1w`` entry: entries of other kinds of image do not concern us.

    Raises
    ------
    NoInputError
        If the file cannot be read.
    UsageError
        If it is not such a JSON, or filters by something that is not in the file name of an image to measure.
    """
    path = Path(path)
    try:
        content = read_json(path, pipe_allowed=True)
    except OSError as error:
        raise NoInputError(f"{path}: the filter file cannot be read ({error}).") from error
    except ValueError as error:
        raise UsageError(f"{path}: not a JSON file ({error}); correct the filter file.") from error
    entry = content.get(_FILTER_ENTRY, {}) if isinstance(content, dict) else None
    if not isinstance(entry, dict):
        raise UsageError(f'{path}: expected an object of the form {{"t1w": {{"session": "01"}}}}; correct the file.')
    if _FILTER_ENTRY not in content:
        alike = [key for key in content if key.lower() == _FILTER_ENTRY]
        if alike:
            raise UsageError(f"{path}: found the entry '{alike[0]}'; expected '{_FILTER_ENTRY}'. Correct the file.")
        _log.warning("%s: filters nothing here, it has no entry '%s' but %s. Is it the right file?", path,
                     _FILTER_ENTRY, shorten(map(repr, content)))  # fmt: skip
    _check_filters(entry, str(path))
    return entry


def _check_filters(filters: Mapping[str, Any], origin: str) -> None:
    short_names = set(SHORT_NAMES.values())
    for key, value in filters.items():
        fixed = _FIXED_KEYS.get(key)
        values = value if isinstance(value, list | tuple) else [value]
        if fixed is not None:
            if not set(fixed) & set(map(str, values)):
                only = " and ".join(map(repr, fixed))
                raise UsageError(f"{origin}: '{key}' is {value!r}, but bids_hypo reads only {only}; leave it out.")
        elif key != "extension" and key not in SHORT_NAMES and key not in short_names:
            known = ", ".join(sorted({*SHORT_NAMES, *_FIXED_KEYS, "extension"}))
            raise UsageError(f"{origin}: '{key}' is not an entity of anatomical images; known are {known}.")
        elif not all(item is None or (isinstance(item, str | int) and not isinstance(item, bool)) for item in values):
            raise UsageError(f"{origin}: '{key}' is {value!r}; expected text, a number, null or a list of these.")
        elif any(str(item).startswith(f"{SHORT_NAMES.get(key, key)}-") for item in values):
            raise UsageError(f"{origin}: '{key}' is {value!r}; give the label alone, without its prefix.")
        elif any("," in str(item) for item in values):
            raise UsageError(f"{origin}: '{key}' is {value!r}; no label has a comma. Give a list of labels.")

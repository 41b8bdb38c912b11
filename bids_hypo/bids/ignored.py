"""The .bidsignore of a dataset: files that are in it, but that its author keeps out of BIDS."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from pathspec import GitIgnoreSpec

from bids_hypo.files import read_bytes

IGNORE_FILE = ".bidsignore"
_MOST_BYTES = 10_000_000

_log = logging.getLogger(__name__)


def read_bidsignore(root: Path) -> GitIgnoreSpec:
    """Read the patterns of ``.bidsignore``, which mean what they mean in a .gitignore.

    Parameters
    ----------
    root : Path
        The dataset.

    Returns
    -------
    GitIgnoreSpec
        Matches paths relative to the dataset; nothing if there is no such file. A line that is no pattern is left out
        with a warning, and so is a file that cannot be read.
    """
    path = root / IGNORE_FILE
    try:
        data = read_bytes(path, at_most=_MOST_BYTES)
    except FileNotFoundError:
        data = b""
    except OSError as error:
        _log.warning("%s: cannot be read (%s); nothing is left out for it.", path, error)
        data = b""
    if b"\0" in data:
        _log.warning("%s: not text in UTF-8 (UTF-16?); nothing is left out for it. Save it as UTF-8.", path)
        data = b""
    lines = data.decode("utf-8-sig", errors="surrogateescape").splitlines()
    return GitIgnoreSpec.from_lines(line for line in lines if _is_pattern(line, path))


def _is_pattern(line: str, path: Path) -> bool:
    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError as error:
        _log.warning("%s: the line %r is no pattern (%s) and has no effect. Correct or remove it.", path, line, error)
        return False
    return True


def split_ignored(paths: Iterable[Path], root: Path, spec: GitIgnoreSpec) -> tuple[list[Path], list[Path]]:
    """Divide files of a dataset into those that count and those that its .bidsignore lists.

    Parameters
    ----------
    paths : iterable of Path
        Below `root`.
    root : Path
    spec : GitIgnoreSpec
        See `read_bidsignore`.
    """
    kept: list[Path] = []
    ignored: list[Path] = []
    for path in paths:
        (ignored if spec.match_file(path.relative_to(root).as_posix()) else kept).append(path)
    return kept, ignored

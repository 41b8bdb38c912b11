"""Links that lead out of a dataset: what lies behind them is neither taken over nor written to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from bids_hypo.errors import CannotCreateError

_CONTENT = ("annex", "objects")  # where git-annex keeps the files that it leaves links to


def way_out(path: Path, dataset: Path) -> Path | None:
    """Where a path really leads, if that is outside of its dataset; None if it stays inside.

    Inside is the folder of the dataset, the git work tree that it lies in, and the annex of any repository around it:
    git-annex and DataLad keep the content of files there and leave links in their places.

    Parameters
    ----------
    path : Path
        Need not exist.
    dataset : Path
        May itself be a link: somebody chose it.
    """
    target, home = Path(os.path.realpath(path)), Path(os.path.realpath(dataset))
    if target.is_relative_to(home) or any(target.is_relative_to(place) for place in _around(home)):
        return None
    return target


def _around(home: Path) -> Iterator[Path]:
    repositories = [folder for folder in (home, *home.parents) if os.path.lexists(folder / ".git")]
    if repositories:
        yield repositories[0]
    for folder in repositories[1:]:  # subdatasets: their repository may lie in that of the dataset around them
        if (folder / ".git").is_symlink():
            continue
        yield folder.joinpath(".git", *_CONTENT)
        yield folder / ".git" / "modules"


def check_writes_stay(folder: Path, output_dir: Path) -> None:
    """Refuse to write to a folder of the output that is a link to somewhere else, or lies below one.

    Links in place of files need no such check: writing replaces them, and removing takes the link away.

    Parameters
    ----------
    folder, output_dir : Path

    Raises
    ------
    CannotCreateError
    """
    target = way_out(folder, output_dir)
    if target is not None:
        raise CannotCreateError(
            f"{folder}: leads by a link to {target}, outside of the output folder {output_dir}; nothing is written "
            "there. Remove the link, or choose as output folder the place that it leads to."
        )

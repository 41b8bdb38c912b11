"""BIDS folders on the server that a page names: which may be read, and where their links may lead."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bids_hypo.errors import NoInputError, UsageError
from bids_hypo.gui.options import GuiOptions
from bids_hypo.gui.texts import text

_ABOUT = ("dataset_description.json", ".bidsignore")  # what is read beside the images


def choose_folder(given: str, options: GuiOptions) -> Path:
    """The BIDS folder that was named, if it may be read.

    Raises
    ------
    UsageError
        If folders are not offered, or this one is not.
    NoInputError
        If it does not exist.
    """
    if not options.folders_allowed:
        raise UsageError(text("error.folder_forbidden", folder=given))
    folder = Path(given.strip())
    if not folder.is_absolute():
        raise UsageError(text("error.folder_relative", folder=given))
    try:
        folder = folder.resolve()
        there = folder.is_dir()
    except (OSError, RuntimeError, ValueError):  # links in a circle, a name too long
        there = False
    if options.data_root is not None and not folder.is_relative_to(options.data_root.resolve()):
        raise UsageError(text("error.folder_outside", folder=given, root=options.data_root))
    if not there:
        raise NoInputError(text("error.folder_missing", folder=given))
    for name in _ABOUT:
        check_links([folder / name], options.data_root)
    return folder


def check_links(paths: Iterable[Path], root: Path | None) -> None:
    """Refuse files that links, their own or those of folders above them, bring from outside.

    Parameters
    ----------
    paths : iterable of Path
    root : Path or None
        None: links may lead anywhere.

    Raises
    ------
    UsageError
        For the first that lies outside.
    """
    if root is None:
        return
    inside = root.resolve()
    for path in paths:
        try:
            target = path.resolve()
        except (OSError, RuntimeError):  # links in a circle lead nowhere
            continue
        if not target.is_relative_to(inside):
            raise UsageError(text("error.link_outside", file=path, root=root))

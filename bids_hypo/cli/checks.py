"""What is checked of options before anything is loaded."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from bids_hypo.errors import NoInputError, UsageError, comma_hint


def need(args: argparse.Namespace, *names: str) -> None:
    """Refuse arguments without some options that are needed."""
    for name in names:
        if not getattr(args, name):
            raise UsageError(f"{_flag(name)} is needed here; see bids_hypo_train --help.")


def refuse(args: argparse.Namespace, why: str, *names: str) -> None:
    """Refuse options that would have no effect, saying why."""
    given = [_flag(name) for name in names if getattr(args, name) is not None]
    if given:
        raise UsageError(f"{', '.join(given)}: cannot be used here: the recipe {why}. Leave it out.")


def check_files(paths: Iterable[Path], option: str) -> None:
    """Refuse files of a list that do not exist."""
    for path in paths:
        if not path.is_file():
            raise NoInputError(f"{option} {path}: {_state(path)}; expected an image.{comma_hint([str(path)])}")


def check_folders(paths: Iterable[Path], option: str) -> None:
    """Refuse folders of a list that do not exist."""
    for path in paths:
        if not path.is_dir():
            raise NoInputError(f"{option} {path}: {_state(path)}; expected a folder.{comma_hint([str(path)])}")


def check_new_folder(folder: Path | None, option: str) -> None:
    """Refuse a folder that cannot be made or written; nothing is made."""
    if folder is not None:
        from bids_hypo.bids.places import check_can_be_made  # the package takes a second, --help does not need it

        check_can_be_made(folder, f"{option} {folder}")


def _state(path: Path) -> str:
    if path.is_dir():
        return "it is a folder"
    return "it is a file" if path.exists() else "it does not exist"


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"

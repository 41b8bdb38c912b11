"""Whether a folder can be made and written, found out without writing anything."""

from __future__ import annotations

import os
from pathlib import Path

from bids_hypo.errors import CannotCreateError


def check_can_be_made(folder: Path, name: str = "") -> None:
    """Refuse a folder that cannot be made or written; nothing is made.

    Parameters
    ----------
    folder : Path
    name : str
        Begins the message, such as the option with its value; the folder unless given.

    Raises
    ------
    CannotCreateError
        If it is a file, lies below one, or the first folder above it that exists cannot be written.
    """
    place = Path(os.path.abspath(folder))
    there = next((p for p in (place, *place.parents) if os.path.lexists(p)), Path("/"))
    if not there.is_dir():
        found = "it" if there == place else str(there)
        what = "a file" if there.exists() else "a link to what is not there"
        raise CannotCreateError(
            f"{name or folder}: the folder cannot be made or written, for {found} is {what}. Choose another."
        )
    if not os.access(there, os.W_OK | os.X_OK):
        found = "it" if there == place else str(there)
        raise CannotCreateError(
            f"{name or folder}: the folder cannot be made or written: {found} is protected. Choose another, or check "
            "its permissions."
        )

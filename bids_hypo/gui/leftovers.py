"""The server's own folder of temporary files: locked while the server lives, so that the next one can clear up."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from bids_hypo.image.held import NoLocksError, open_held

logger = logging.getLogger(__name__)

PREFIX = "bids_hypo_gui-"
LOCK = ".in-use"


def make_folder(parent: Path) -> tuple[Path, int | None]:
    """A folder that nobody else may read, and that `clear_abandoned` leaves alone while this process lives.

    Parameters
    ----------
    parent : Path

    Returns
    -------
    folder : Path
    lock : int or None
        An open file; closing it, as the end of the process does, gives the folder up. None where the file system has no
        locks: nobody can lock it there, nor take it for abandoned.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    # Named at last: another server must never see it unlocked and take it for abandoned.
    new = Path(tempfile.mkdtemp(prefix=f".new-{PREFIX}", dir=parent))
    lock = None
    with suppress(NoLocksError):
        lock = open_held(new / LOCK)
    folder = parent / (PREFIX + new.name.removeprefix(f".new-{PREFIX}"))
    new.rename(folder)
    return folder, lock


def remove_folder(folder: Path) -> None:
    """Delete a server's folder, the sign that it can be cleared up last."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.name == LOCK:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def clear_abandoned(parent: Path) -> None:
    """Delete what servers of this user left in a folder when they were killed.

    Parameters
    ----------
    parent : Path
    """
    for folder in sorted(parent.glob(f"{PREFIX}*")):
        try:
            about = folder.lstat()
            if about.st_uid != os.geteuid() or not folder.is_dir() or folder.is_symlink():
                continue
            if not (folder / LOCK).is_file() or (folder / LOCK).is_symlink():  # no server of ours made it
                continue
            lock = open_held(folder / LOCK)
        except OSError:  # closed to us, or the file system has no locks
            continue
        if lock is None:  # its server lives
            continue
        remove_folder(folder)
        logger.warning("%s: deleted what a server that was killed had left", folder)
        os.close(lock)

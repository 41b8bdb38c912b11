"""The server's own folder of temporary files: locked while the server lives, so that the next one can clear up."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)

PREFIX = "bids_hypo_gui-"
LOCK = ".in-use"


def make_folder(parent: Path) -> tuple[Path, int]:
    """A folder that nobody else may read, and that `clear_abandoned` leaves alone while this process lives.

    Parameters
    ----------
    parent : Path

    Returns
    -------
    folder : Path
    lock : int
        An open file; closing it, as the end of the process does, gives the folder up.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    # Named at last: another server must never see it unlocked and take it for abandoned.
    new = Path(tempfile.mkdtemp(prefix=f".new-{PREFIX}", dir=parent))
    lock = os.open(new / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with suppress(OSError):  # a file system without locks; nobody can lock it then, nor take it for abandoned
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:  # no server of ours made it
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # its server lives, or the file system knows no locks
            continue
        else:
            remove_folder(folder)
            logger.warning("%s: deleted what a server that was killed had left", folder)
        finally:
            os.close(lock)

"""A folder for temporary files, also where nothing but the output can be written (a container's read-only root)."""

from __future__ import annotations

import atexit
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bids_hypo.cli.checks import check_new_folder
from bids_hypo.ending import temporary_folder

_for_this_run = ExitStack()
atexit.register(_for_this_run.close)

SHARED_MEMORY = Path("/dev/shm")


def choose_scratch(work_dir: Path | None, output_dir: Path | None) -> Path | None:
    """Say where this process and its children put temporary files.

    Libraries ask Python's tempfile for a folder; matplotlib also wants one in the user's home, which may not exist.

    Parameters
    ----------
    work_dir : Path or None
        Made and used if given.
    output_dir : Path or None
        Where the results go; used if nothing else can be written, or its parent while it does not exist. None for a dry
        run, which must not leave a trace there, not even for a while.

    Returns
    -------
    Path or None
        A folder made for this run, removed at its end; None if the usual places serve.

    Raises
    ------
    CannotCreateError
        If `work_dir` cannot be made or written.
    """
    if work_dir is not None:
        check_new_folder(work_dir, "--work-dir")
        work_dir.mkdir(parents=True, exist_ok=True)
        _use_for_temporary_files(work_dir.resolve())
    usual = _usual_folder()
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.expanduser fails where there is none
    if usual is not None and ("MPLCONFIGDIR" in os.environ or _can_write(home)):
        return None
    where_results_go = [] if output_dir is None else [output_dir.resolve(), output_dir.resolve().parent]
    places = [usual] if usual is not None else [SHARED_MEMORY, *where_results_go]
    place = next((p for p in places if _can_write(p)), None)
    if place is None:
        return None  # nothing can be written at all: the run itself says so
    scratch = _for_this_run.enter_context(temporary_folder(".bids_hypo-", place))
    if usual is None:
        _use_for_temporary_files(scratch)
    os.environ.setdefault("MPLCONFIGDIR", str(scratch))
    return scratch


def _use_for_temporary_files(folder: Path) -> None:
    os.environ["TMPDIR"] = str(folder)  # for worker processes
    tempfile.tempdir = str(folder)


def _usual_folder() -> Path | None:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        return None


def _can_write(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)

"""Private temporary folders, one for each open page, and their deletion."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bids_hypo.bids.names import OutputNames
from bids_hypo.errors import UsageError
from bids_hypo.gui.leftovers import remove_folder
from bids_hypo.gui.options import MB, Limits
from bids_hypo.gui.texts import text

UNHELD_SECONDS = 600
"""An upload that no page has told to be its own after so long was broken off, too large, or its page is gone."""
SWEEP_SECONDS = 60
KEEP_SECONDS = 12 * 3600
"""A page that was left open, or whose closing was not noticed, is ended after so long without use."""
MAKE_WAY_SECONDS = 1800
"""Where there are too many pages, one that was not used for so long is ended for a new one."""


@dataclass
class Session:
    """What belongs to one open page.

    Attributes
    ----------
    folder : Path
        Readable by the owner of the server's process only.
    uploads : dict of Path to int
        Files that the web server stored for it, with their times: the same file given again is another's.
    results : dict of str to (OutputNames, Path)
        Finished scans that can be looked at: their files, and the folder of their views.
    used : float
        Time of last use, monotonic seconds.
    jobs : int
        Jobs that are waiting or running.
    ended : bool
    """

    folder: Path
    uploads: dict[Path, int] = field(default_factory=dict)
    results: dict[str, tuple[OutputNames, Path]] = field(default_factory=dict)
    used: float = field(default_factory=time.monotonic)
    jobs: int = 0
    ended: bool = False

    def new_folder(self, prefix: str) -> Path:
        """An empty folder in the session's own."""
        return Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=self.folder))


class Sessions:
    """All open pages, by the hash that the web server gives each of them.

    Parameters
    ----------
    root : Path
        Everything of all sessions lies below it, uploads too; `close` deletes it.
    limits : Limits, optional
    """

    def __init__(self, root: Path, limits: Limits | None = None) -> None:
        self.root = root
        self.limits = limits or Limits()
        self._reserved = 0  # bytes that are on their way
        self._sessions: dict[str, Session] = {}
        self._lock = threading.RLock()
        self._closed = threading.Event()

    def sweep_regularly(self) -> None:
        """Sweep from now on, also while nobody uses the page, until `close`."""

        def sweeping() -> None:
            while not self._closed.wait(SWEEP_SECONDS):
                self.sweep()

        threading.Thread(target=sweeping, name="sweep", daemon=True).start()

    def get(self, key: str) -> Session:
        """The session of a page, made on first use.

        Raises
        ------
        UsageError
            If there are too many.
        """
        with self._lock:
            session = self._sessions.get(key)
            if session is None:
                self._make_way()
                folder = self.root / f"session-{secrets.token_hex(16)}"
                folder.mkdir(mode=0o700, parents=True)
                session = self._sessions[key] = Session(folder)
            session.used = time.monotonic()
            return session

    def result(self, key: str, scan: str) -> tuple[OutputNames, Path] | None:
        """A finished scan of a page: its files, and the folder of its views; None if there is none (any more)."""
        with self._lock:
            session = self._sessions.get(key)
            if session is None:
                return None
            session.used = time.monotonic()
            return session.results.get(scan)

    def _make_way(self) -> None:
        """End pages that were not used for long while there are too many."""
        idle = sorted((s.used, key) for key, s in self._sessions.items() if not s.jobs)
        for used, key in idle:
            if len(self._sessions) < self.limits.sessions or time.monotonic() - used < MAKE_WAY_SECONDS:
                break
            self.end(key)
        if len(self._sessions) >= self.limits.sessions:
            raise UsageError(text("error.sessions", limit=self.limits.sessions))

    def room(self) -> int:
        """Bytes that may still be stored; below 1 if there is no room."""
        return self.limits.total_mb * MB - self._reserved - _size(self.root)

    def check_room(self, wanted: int = 1) -> None:
        """Refuse what there is no room for.

        Raises
        ------
        UsageError
            If that is so.
        """
        if wanted > self.room():
            raise UsageError(text("error.full", limit=self.limits.total_mb))

    @contextmanager
    def receiving(self, size: int) -> Iterator[None]:
        """Keep room for an upload of so many bytes while it comes in.

        Raises
        ------
        UsageError
            If there is not so much.
        """
        with self._lock:
            self.check_room(size)
            self._reserved += size
        try:
            yield
        finally:
            with self._lock:
                self._reserved -= size

    def hold(self, key: str, uploads: list[Path]) -> Session:
        """Note which stored uploads belong to a session, so that they go with it."""
        session = self.get(key)
        with self._lock:
            for path in uploads:
                session.uploads[path] = _time_ns(path)
                for other in self._sessions.values():  # the web server has stored it anew for all who gave it
                    if path in other.uploads:
                        other.uploads[path] = session.uploads[path]
        return session

    def begin(self, session: Session) -> None:
        """Note that a job of the session waits or runs."""
        with self._lock:
            session.jobs += 1

    def finish(self, session: Session) -> None:
        """Note that a job is over; what it left of a session that has ended meanwhile is deleted."""
        with self._lock:
            session.jobs -= 1
            session.used = time.monotonic()
            if session.ended and session.jobs == 0:
                shutil.rmtree(session.folder, ignore_errors=True)

    def end(self, key: str) -> None:
        """Delete everything of a session: its folder, and its uploads unless another page holds the same."""
        with self._lock:
            session = self._sessions.pop(key, None)
            if session is None:
                return
            session.ended = True
            shutil.rmtree(session.folder, ignore_errors=True)
            held = self._held()
            for path in [p for p, time_ns in session.uploads.items() if p not in held and _time_ns(p) == time_ns]:
                _delete_upload(path)

    def _held(self) -> set[Path]:
        return {path for session in self._sessions.values() for path in session.uploads}

    def sweep(self, older_than_s: float = KEEP_SECONDS) -> None:
        """End sessions that were not used for long and have no job, and delete uploads that are nobody's."""
        now = time.monotonic()
        with self._lock:
            old = [k for k, s in self._sessions.items() if now - s.used > older_than_s and not s.jobs]
            for key in old:
                self.end(key)
            held, before_ns = self._held(), time.time_ns() - int(UNHELD_SECONDS * 1e9)
            for path in [*self.root.glob("tmp*"), *self.root.glob(f"{'[0-9a-f]' * 64}/*")]:
                if path.is_file() and path not in held and _time_ns(path) < before_ns:
                    _delete_upload(path)

    def close(self) -> None:
        """Delete everything of all sessions."""
        self._closed.set()
        with self._lock:
            for key in list(self._sessions):
                self.end(key)
            remove_folder(self.root)


def _delete_upload(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
    with suppress(OSError):  # its folder may hold the same content under another name
        path.parent.rmdir()


def _time_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _size(folder: Path) -> int:
    """Bytes of the files below a folder, each once: a scan of a small dataset is a link to the upload."""
    sizes: dict[tuple[int, int], int] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # deleted meanwhile
                about = Path(place, name).lstat()
                sizes[about.st_dev, about.st_ino] = about.st_size
    return sum(sizes.values())

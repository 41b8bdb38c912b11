"""What the page was started with."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

LOCALHOST = "127.0.0.1"
MB = 1_000_000


@dataclass(frozen=True)
class Limits:
    """What is taken in.

    Attributes
    ----------
    upload_mb : int
        Of one file.
    unpacked_mb : int
        Of all members of a zip together.
    members : int
        Of a zip.
    files : int
        At a time.
    megavoxels : int
        Of one image; 512 x 512 x 512 is 134.
    waiting : int
        Jobs in the queue; further ones are told to come back.
    total_mb : int
        Of uploads and results of all sessions together.
    sessions : int
        Pages that have uploads or results at the same time.
    left_mb : int, optional
        What is left of the total at the moment.
    """

    upload_mb: int = 500
    unpacked_mb: int = 2000
    members: int = 10_000
    files: int = 100
    megavoxels: int = 150
    waiting: int = 20
    total_mb: int = 10_000
    sessions: int = 50
    left_mb: int | None = None


@dataclass(frozen=True)
class GuiOptions:
    """Options of the page.

    Attributes
    ----------
    host, port : str, int
        Where it listens.
    auth : tuple of str, optional
        User and password.
    allow_hosts : tuple of str
        Further names, ``NAME`` or ``NAME:PORT``, by which the page may be called.
    limits : Limits
    device : str
        As of the participant level, like the two that follow.
    omp_nthreads : int or None
    models_dir : Path or None
    data_root : Path or None
        Folder in which BIDS datasets may be chosen by their path.
    work_dir : Path or None
        Where uploads and results lie while a session lasts; the system's temporary folder if not given.
    """

    host: str = LOCALHOST
    port: int = 7860
    auth: tuple[str, str] | None = None
    allow_hosts: tuple[str, ...] = ()
    limits: Limits = Limits()
    device: str = "auto"
    omp_nthreads: int | None = None
    models_dir: Path | None = None
    data_root: Path | None = None
    work_dir: Path | None = None

    @property
    def local(self) -> bool:
        """Whether only this computer can reach the page."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def only_here(self) -> bool:
        """Whether all who come are users of this computer; under further names others come, through a proxy."""
        return self.local and not self.allow_hosts

    @property
    def folders_allowed(self) -> bool:
        """Whether a BIDS folder may be named: anyone on this computer, others only inside ``data_root``."""
        return self.only_here or self.data_root is not None

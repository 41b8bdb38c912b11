"""The password of the page: compared without telling how much of it was right, and not to be found by trying."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from bids_hypo.gui.door import client
from bids_hypo.gui.texts import text

logger = logging.getLogger(__name__)

FORGET_S = 900.0
"""Failures are forgotten after so long without another."""
TOO_MANY_REQUESTS = 429
_KEPT = 10_000  # addresses that are remembered
_SHOWN = 64  # letters of a user's name in the log


@dataclass
class Failures:
    """Wrong passwords in a row, and how long to wait after them.

    Attributes
    ----------
    free : int
        So many cost nothing; then the wait doubles from one second on.
    longest_s : float
        The wait grows no longer than this.
    count : int
    last : float
        When the last one was, monotonic seconds.
    told : bool
        Whether the log says that another try was refused since.
    """

    free: int
    longest_s: float
    count: int = 0
    last: float = 0.0
    told: bool = False

    def wait_s(self, now: float) -> float:
        """Seconds until the next try; 0 if it may be made now."""
        if self.count < self.free or now - self.last > FORGET_S:
            return 0.0
        return max(self.last + min(2.0 ** min(self.count - self.free, 30), self.longest_s) - now, 0.0)

    def add(self, now: float) -> None:
        """Count another one."""
        self.count = 1 if now - self.last > FORGET_S else self.count + 1
        self.last, self.told = now, False


class Login:
    """Checks user and password.

    Each address waits for its own failures, at most a minute. After 50 failures of all together, an address from which
    nobody has come in yet also waits for the others', at most two seconds: nobody is locked out by another for long.

    Parameters
    ----------
    user, password : str
    clock : callable
        Gives monotonic seconds.
    """

    def __init__(self, user: str, password: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._expected = (user.encode(), password.encode())
        self._clock = clock
        self._lock = threading.Lock()
        self._of: dict[str, Failures] = {}
        self._all = Failures(50, 2.0)
        self._welcome: dict[str, None] = {}

    def check(self, user: str, password: str) -> bool:
        """Whether user and password are right.

        Raises
        ------
        fastapi.HTTPException
            Status 429, if the client has to wait; right or wrong is not told then.
        """
        address = network_of(client.get())
        with self._lock:
            self._wait(address)
            user_is, password_is = self._expected
            right = hmac.compare_digest(user.encode("utf-8", "replace"), user_is)
            right &= hmac.compare_digest(password.encode("utf-8", "replace"), password_is)
            if right:
                self._of.pop(address, None)
                _remember(self._welcome, address, None)
            else:
                self._failed(address, user)
            return right

    def _wait(self, address: str) -> None:
        now = self._clock()
        counted = [self._of.get(address), None if address in self._welcome else self._all]
        longest = max((f for f in counted if f is not None), key=lambda f: f.wait_s(now), default=None)
        wait_s = 0.0 if longest is None else longest.wait_s(now)
        if longest is None or wait_s <= 0:
            return
        if not longest.told:
            longest.told = True
            logger.warning("refused logins before their time, such as one from %s: %.0f s to wait", address, wait_s)
        from fastapi import HTTPException  # comes with Gradio

        seconds = str(int(wait_s) + 1)
        raise HTTPException(TOO_MANY_REQUESTS, text("error.login_wait", seconds=seconds), {"Retry-After": seconds})

    def _failed(self, address: str, user: str) -> None:
        now = self._clock()
        own = self._of.pop(address, None) or Failures(5, 60.0)
        _remember(self._of, address, own)  # as the newest
        own.add(now)
        self._all.add(now)
        # repr: a line break in a name must not look like a line of the log
        logger.warning("a login failed, from %s, user %r (%d in a row)", address, user[:_SHOWN], own.count)


def network_of(address: str) -> str:
    """What stands for one client: an IPv4 address, or the /64 network that one IPv6 customer has to choose from."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    mapped = found.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.ip_network((found, 64), strict=False))


def _remember(kept: dict, address: str, value: object) -> None:
    """Keep a value, at the cost of the oldest where there are too many."""
    kept[address] = value
    while len(kept) > _KEPT:
        del kept[next(iter(kept))]

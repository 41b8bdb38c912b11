"""Who may ask the server for anything: requests under its own names, from its own pages. Every request passes here."""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

from bids_hypo.errors import UsageError
from bids_hypo.gui.options import GuiOptions
from bids_hypo.gui.texts import text

logger = logging.getLogger(__name__)

# The browser itself refuses whatever does not come from this server, and shows it to no other site.
HEADERS = {
    b"content-security-policy": (
        b"default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'self'; form-action 'self'; "
        b"base-uri 'self'; object-src 'none'"
    ),
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"same-origin",
    b"x-content-type-options": b"nosniff",
}
DEFAULT_PORTS = {"http": 80, "https": 443}
BAD_REQUEST, FORBIDDEN = 400, 403
POLICY_VIOLATION = 1008  # of a WebSocket
_PLACE = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::([0-9]{1,5}))?")
_MOST_TOLD = 100
_READING = ("GET", "HEAD")
_SAME_SITE = ("", "none", "same-origin")  # of Sec-Fetch-Site: other programs; typed in or a bookmark; our own page

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
Place = tuple[str, int | None]

client: ContextVar[str] = ContextVar("client", default="")
"""Address of whoever sent the request that is being answered."""


def split_place(given: str) -> Place | None:
    """Name (lower case, without brackets) and port of ``NAME[:PORT]``; None if it is nothing of that form."""
    found = _PLACE.fullmatch(given)
    if found is None:
        return None
    name, port = found.groups()
    return name.strip("[]").lower().removesuffix("."), None if port is None else int(port)


def allowed_place(given: str) -> Place:
    """A name that a user allows.

    Raises
    ------
    UsageError
        If it is none.
    """
    try:
        place = split_place(given.encode("idna").decode())
    except UnicodeError:
        place = None
    if place is None or not place[0]:
        raise UsageError(f"--allow-host {given}: expected a name as in the browser's address, such as scans.example "
                         "or scans.example:8443, without http:// and path.")  # fmt: skip
    return place


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


class Door:
    """ASGI middleware that lets in what was asked for under our names and by our pages, and adds `HEADERS`.

    A web site can give its own name the address of this server (DNS rebinding), and any page can send requests here.
    The first is told by the ``Host`` header, the second by ``Origin``, ``Referer`` and ``Sec-Fetch-Site``. Programs
    send none of these three and may come in.

    Parameters
    ----------
    app : callable
    options : GuiOptions
    """

    def __init__(self, app: App, options: GuiOptions) -> None:
        self.app = app
        self.local = options.local
        self.trusted = [allowed_place(given) for given in options.allow_hosts]
        self._told: set[str] = set()
        self.names = {"localhost", options.host.lower(), *(name for name, _ in self.trusted)}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or say why not."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        client.set((scope.get("client") or ("",))[0])
        refused = self.refusal(scope)
        if scope["type"] == "websocket":
            if refused is None:
                await self.app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": ""})
        elif refused is None:
            await self.app(scope, receive, _adding_headers(send))
        else:
            await refuse(_adding_headers(send), *refused)

    def refusal(self, scope: Message) -> tuple[int, str] | None:
        """Status and sentence for a request that is not let in."""
        hosts = list(_values(scope, b"host"))
        host = split_place(hosts[0]) if len(hosts) == 1 else None
        if host is None:
            return BAD_REQUEST, text("error.no_host")
        if not self.knows(host[0]):
            self._log(f"under the name {host[0]}")
            return BAD_REQUEST, text("error.host", name=host[0])
        if self._from_elsewhere(scope, host):
            self._log(f"of another site {next(_values(scope, b'origin'), '')!r}")
            return FORBIDDEN, text("error.cross_site")
        return None

    def _log(self, what: str) -> None:
        """Say once what is refused: whoever asks a million times must not fill the log."""
        if what not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(what)
            logger.warning(
                "refused a request %s, from %s; others of this kind are not logged", what[:100], client.get()
            )

    def knows(self, name: str) -> bool:
        """Whether the server is called by this name. No site can claim an IP address by its DNS."""
        if name in self.names:
            return True
        address = _address(name)
        return address is not None and (address.is_loopback or not self.local)

    def _from_elsewhere(self, scope: Message, host: Place) -> bool:
        origins = list(_values(scope, b"origin"))
        if origins:
            return not all(self._is_ours(origin, host) for origin in origins)
        site = next(_values(scope, b"sec-fetch-site"), "").lower()
        if scope["type"] == "http" and scope["method"] in _READING:
            return site not in _SAME_SITE and not _is_visit(scope)
        referer = next(_values(scope, b"referer"), None)
        return site not in _SAME_SITE or (referer is not None and not self._is_ours(referer, host))

    def _is_ours(self, origin: str, host: Place) -> bool:
        """Whether an origin (or the address of a page) is the place that was asked, or one that the user allows."""
        try:
            parts = urlsplit(origin)
            usual = DEFAULT_PORTS[parts.scheme.lower()]
            place = (parts.hostname or "").removesuffix("."), parts.port or usual
        except (KeyError, ValueError):  # null, for one
            return False
        if place == (host[0], host[1] or usual):
            return True
        return any(place == (name, port or usual) for name, port in self.trusted)


def _values(scope: Message, name: bytes) -> Iterator[str]:
    return (value.decode("latin-1").strip() for key, value in scope["headers"] if key.lower() == name)


def _is_visit(scope: Message) -> bool:
    """Whether somebody follows a link to the page from elsewhere: he sees it, the other site does not."""
    as_page = next(_values(scope, b"sec-fetch-mode"), "") == "navigate"
    alone = next(_values(scope, b"sec-fetch-dest"), "") == "document"
    return as_page and alone and scope["path"] == "/"


def _adding_headers(send: Send) -> Send:
    async def add(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [(k, v) for k, v in message.get("headers", []) if k.lower() not in HEADERS]
            message["headers"] = [*kept, *HEADERS.items()]
        await send(message)

    return add


async def refuse(send: Send, status: int, sentence: str) -> None:
    """Answer with a sentence in plain text."""
    body = sentence.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

"""Requests to ASGI middleware, without a server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


@dataclass
class Answer:
    """What a request got, and whether it reached the app behind the middleware."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    reached: bool = False
    messages: list[str] = field(default_factory=list)


def ask(
    make, path="/", *, method="GET", kind="http", headers=(), body=b"", client="192.0.2.1", reply=None,
) -> Answer:  # fmt: skip
    """Send a request through ``make(app)``, where the app says 200."""
    answer = Answer()

    async def app(scope, receive, send):
        answer.reached = True
        if reply is not None:
            await reply(scope, receive, send)
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"hello"})

    scope = {
        "type": kind, "path": path, "method": method, "client": (client, 5000),
        "headers": [(key.lower().encode(), value.encode()) for key, value in headers],
    }  # fmt: skip
    coming = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        return coming.pop(0) if coming else {"type": "http.disconnect"}

    async def send(message):
        answer.messages.append(message["type"])
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {key.decode(): value.decode() for key, value in message["headers"]}
        answer.body += message.get("body", b"").decode()

    asyncio.run(make(app)(scope, receive, send))
    return answer

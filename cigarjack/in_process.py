"""Requests that come over GATT, handed to the very applications that serve Wi-Fi."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from twochannel.protocol.errors import PROBLEMS, ErrorCode
from twochannel.protocol.link import Answer, Request

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message

_log = logging.getLogger(__name__)


async def ask(app: ASGIApp, request: Request) -> Answer:
    """What ``app`` answers to ``request``."""
    asked: list[Message] = [{"type": "http.request", "body": request.body}]
    said: list[Message] = []

    async def receive() -> Message:
        return asked.pop() if asked else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        said.append(message)

    try:
        await app(_scope(request), receive, send)
    except Exception:
        # Starlette has answered 500 by then, and lets the server have the error for its log.
        _log.exception("request_failed", extra={"path": request.path})
    status = next((m["status"] for m in said if m["type"] == "http.response.start"), None)
    if status is None:
        return Answer(PROBLEMS[ErrorCode.INTERNAL_ERROR].status)
    return Answer(status, b"".join(message.get("body", b"") for message in said))


def _scope(request: Request) -> dict[str, object]:
    """The ASGI scope. A body is a statement: nothing else is sent over GATT."""
    kind = [(b"content-type", b"application/jwt")] if request.body else []
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "https",
        "path": request.path,
        "raw_path": request.path.encode("ascii"),
        "query_string": b"",
        "root_path": "",
        "headers": [*kind, (b"content-length", b"%d" % len(request.body))],
        "client": None,
        "server": None,
    }

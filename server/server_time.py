"""The server's time on every answer, so that devices can correct their offset from any of them.

So is how often its key was replaced, if it was: who knows of fewer successions asks for the rest.
ASGI middleware: the header ``Cigarjack-Time`` on all answers, and ``server_time_ms`` in problem
documents, whoever made them (docs/protocol.md, Server).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER: Final = "cigarjack-time"
SUCCESSIONS: Final = "cigarjack-successions"
_PROBLEM: Final = "application/problem+json"


class ServerTime:
    """Wraps an application. ``now_ms``: Unix milliseconds. ``successions``: how many there were."""

    def __init__(
        self, app: ASGIApp, now_ms: Callable[[], int], successions: Callable[[], int]
    ) -> None:
        self._app = app
        self._now_ms = now_ms
        self._successions = successions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        held: list[Message] = []

        async def send_with_time(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers[HEADER] = str(self._now_ms())
                if successions := self._successions():
                    headers[SUCCESSIONS] = str(successions)
                if headers.get("content-type") == _PROBLEM:
                    # Its length is known only when the body comes.
                    held.append(message)
                    return
            elif held:
                start = held.pop()
                message = _timed_problem(start, message)
                await send(start)
            await send(message)

        await self._app(scope, receive, send_with_time)


def _timed_problem(start: Message, body: Message) -> Message:
    """The whole body of a problem document with the time in it; ``start`` gets its length."""
    headers = MutableHeaders(scope=start)
    document = json.loads(body["body"]) | {"server_time_ms": int(headers[HEADER])}
    data = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    headers["content-length"] = str(len(data))
    return {**body, "body": data}

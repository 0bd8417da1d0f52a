"""Requests as the operator sees them: each with an id, its route, its status and how long it took.

ASGI middleware, there only if somebody looks (``request_log``, ``metrics_port``). The id stands in
every line that the server logs while it answers, and in the answer (``request-id``).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger(__name__)

_REQUEST: ContextVar[str | None] = ContextVar("request", default=None)
#: What no route has: one name for all, so that strangers cannot make up names.
_UNMATCHED: Final = "(none)"

#: Method, route, status, seconds.
Observer = Callable[[str, str, int, float], None]


class RequestIds(logging.Filter):
    """Gives each record the id of the request that it belongs to."""

    def filter(self, record: logging.LogRecord) -> bool:
        request = _REQUEST.get()
        if request is not None:
            record.request = request
        return True


class Traffic:
    """Wraps an application. ``observers`` are told of each request when it is over."""

    def __init__(
        self, app: ASGIApp, new_id: Callable[[], str], observers: tuple[Observer, ...]
    ) -> None:
        self._app = app
        self._new_id = new_id
        self._observers = observers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, started, status = self._new_id(), time.perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                header = (b"request-id", request_id.encode("ascii"))
                message = {**message, "headers": [*message["headers"], header]}
            await send(message)

        token = _REQUEST.set(request_id)
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            for observe in self._observers:
                observe(scope["method"], route_of(scope), status, seconds)
            _REQUEST.reset(token)


def route_of(scope: Scope) -> str:
    """The route's pattern, never the path: ids in it would make a name of each."""
    return str(getattr(scope.get("route"), "path", _UNMATCHED))


def log_request(method: str, route: str, status: int, seconds: float) -> None:
    """An observer that writes one line. ``status`` 0: it was broken off."""
    fields = {"method": method, "route": route, "status": status, "took_ms": round(seconds * 1000)}
    _log.info("request", extra=fields)

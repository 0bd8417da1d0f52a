"""Tells open pages that something is new; they fetch themselves.

What is new is found by the wake-ups that everybody else waits by, at most a few times a second
however much is paid, and by looking every few seconds where a wake-up got lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from sqlalchemy import Connection, func, select
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from server.dashboard.reading import Reader, secret_of
from server.dashboard.sessions import find_session
from server.notifications import PAYMENTS
from server.schema.notices import phone_events
from server.schema.payments import statements
from server.services import RECHECK_S, Services

#: Of open pages, at one server.
_MAX_STREAMS: Final = 16
#: Between two looks.
_PAUSE_S: Final = 0.25
_PING_S: Final = 15


def latest(connection: Connection) -> str:
    """Differs when a payment has a new statement or a new state."""
    signed = connection.scalar(select(func.max(statements.c.seq)))
    told = connection.scalar(select(func.max(phone_events.c.seq)))
    return f"{signed or 0}.{told or 0}"


class Live:
    """``/events``."""

    def __init__(self, services: Services, reader: Reader) -> None:
        self._services = services
        self._reader = reader
        self._streams = 0

    async def endpoint(self, request: Request) -> Response:
        if self._streams >= _MAX_STREAMS:
            raise HTTPException(503, "Too many pages are open.")
        return EventSourceResponse(self._told(secret_of(request)), ping=_PING_S)

    async def _told(self, secret: str) -> AsyncIterator[ServerSentEvent]:
        """Until the page goes, the session ends, or the server stops."""
        self._streams += 1
        notifications = self._services.notifications
        last = ""
        try:
            with notifications.listen(PAYMENTS) as listener:
                while not notifications.closed:
                    now = await self._reader.read(lambda c: self._look(c, secret))
                    if now is None:
                        return
                    if now != last:
                        last = now
                        yield ServerSentEvent(now, event="changed", retry=1000, sep="\n")
                    # A pause between looks, and no wait for anything.
                    await asyncio.sleep(_PAUSE_S)
                    await listener.wait(RECHECK_S)
        finally:
            self._streams -= 1

    def _look(self, connection: Connection, secret: str) -> str | None:
        """What is the latest; None: the session has ended."""
        if find_session(connection, secret, self._services.now_ms()) is None:
            return None
        return latest(connection)

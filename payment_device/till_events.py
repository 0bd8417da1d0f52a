"""What tills are told as it happens: payments that change, and the jacks that are heard.

A payment's event has the number of its change as id. Who comes back with the last id that it saw
(``Last-Event-ID``) is told each payment that has changed since, once, as it is now; who comes with
none is told those that are not over. The numbers are on disk, so that this holds over restarts.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Final

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response

from payment_device.lane_radio import LaneRadio
from payment_device.terminal import Terminal
from twochannel.changes import Changes
from twochannel.protocol.errors import CodedError, ErrorCode

#: How often the jacks are looked at.
_LOOK_S: Final = 0.5
#: A few tills of one lane; one more is told to try again.
_MAX_STREAMS: Final = 8
_PING_S: Final = 15


class TillEvents:
    """``GET /v1/events``."""

    def __init__(self, terminal: Terminal, radio: LaneRadio, changes: Changes) -> None:
        self._terminal = terminal
        self._radio = radio
        self._changes = changes
        self._streams = 0

    async def endpoint(self, request: Request) -> Response:
        if self._streams >= _MAX_STREAMS:
            raise CodedError(ErrorCode.NOT_READY, "too many streams are open; close one")
        last = self._understood(request.headers.get("last-event-id", ""))
        return EventSourceResponse(self._told(last), ping=_PING_S)

    def _understood(self, last_event_id: str) -> int | None:
        """None: no id of this terminal's, or one that it has not given out yet."""
        if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 19):
            return None
        last = int(last_event_id)
        return last if last <= self._terminal.revision else None

    async def _told(self, last: int | None) -> AsyncIterator[ServerSentEvent]:
        self._streams += 1
        try:
            shown = ""
            while not self._changes.closed:
                revision = self._terminal.revision
                if last != revision:
                    for number, payment in self._terminal.changed_since(last):
                        yield _event("payment", payment, max(number, last or 0))
                    last = revision
                heard = self._radio.jacks()
                if (now := _without_ages(heard)) != shown:
                    shown = now
                    yield _event("jacks", heard)
                await self._changes.wait(_LOOK_S)
        finally:
            self._streams -= 1


def _event(name: str, data: dict[str, Any], number: int | None = None) -> ServerSentEvent:
    ident = None if number is None else str(number)
    return ServerSentEvent(json.dumps(data), event=name, id=ident, retry=1000, sep="\n")


def _without_ages(heard: dict[str, Any]) -> str:
    items = [{**jack, "age_ms": 0} for jack in heard["items"]]
    return json.dumps([items, heard["reason"]])

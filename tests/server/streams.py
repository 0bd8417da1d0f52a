"""What a phone hears, event by event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from httpx_sse import EventSource, ServerSentEvent

from tests.server.bench import DEADLINE_S, Bench


class Stream:
    """Events of one connection, one at a time."""

    def __init__(self, source: EventSource) -> None:
        self._events = source.aiter_sse()

    async def next(self) -> ServerSentEvent:
        async with asyncio.timeout(DEADLINE_S):
            while (event := await anext(self._events)).event == "ping":
                continue
            return event


@asynccontextmanager
async def listening(bench: Bench, last_event_id: str | None = None) -> AsyncIterator[Stream]:
    proof = bench.devices.proof(bench.devices.phone, "GET", "/v1/events")
    headers = {"authorization": f"Bearer {proof}"}
    if last_event_id is not None:
        headers["last-event-id"] = last_event_id
    async with bench.http.stream("GET", "/v1/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cigarjack-time"].isdigit()
        yield Stream(EventSource(answer))

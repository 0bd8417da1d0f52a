"""A till beside a terminal in memory: the API on loopback, behind its token."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx
from starlette.routing import Route

from payment_device.local_api import LocalApi
from payment_device.till_access import TokenDoor
from tests.payment_device.lane import Bench
from tests.payment_device.scripted_server import MERCHANT
from twochannel.serving import Address, serve

TOKEN: Final = "a token"
STATUS: Final = {"lane": "Lane 1", "merchant": MERCHANT, "payment": None}


@asynccontextmanager
async def served_at(lane: Bench, *more: Route) -> AsyncIterator[str]:
    """The URL of the API, with ``more`` routes, while the block runs."""
    api = LocalApi(lane.terminal, lane.radio, lane.changes, lambda: STATUS)
    door = TokenDoor(api.application(*more), TOKEN)
    async with serve(door, Address(), grace_s=0) as served:
        yield f"http://127.0.0.1:{served.port}"


@asynccontextmanager
async def a_till(lane: Bench, *more: Route) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with (
        served_at(lane, *more) as url,
        httpx.AsyncClient(base_url=url, headers=headers, timeout=20) as client,
    ):
        yield client


@dataclass(frozen=True)
class Event:
    name: str
    id: str | None
    data: dict[str, Any]


@asynccontextmanager
async def listening(
    till: httpx.AsyncClient, last_id: str | None = None
) -> AsyncIterator[asyncio.Queue[Event]]:
    """The events as they come, in a queue."""
    queue: asyncio.Queue[Event] = asyncio.Queue()
    headers = {"last-event-id": last_id} if last_id is not None else {}

    async def read(response: httpx.Response) -> None:
        fields: dict[str, str] = {}
        async for line in response.aiter_lines():
            name, _, value = line.partition(": ")
            if line:
                fields[name] = value
            elif "data" in fields:
                event = Event(fields["event"], fields.get("id"), json.loads(fields["data"]))
                queue.put_nowait(event)
                fields = {}

    async with till.stream("GET", "/v1/events", headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        reading = asyncio.create_task(read(response))
        try:
            yield queue
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def next_of(queue: asyncio.Queue[Event], name: str, **members: Any) -> Event:
    """The next event of that name with these members."""
    async with asyncio.timeout(20):
        while True:
            event = await queue.get()
            if event.name == name and members.items() <= event.data.items():
                return event

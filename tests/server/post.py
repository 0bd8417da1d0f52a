"""A merchant's endpoint, a courier that tells it, and the payments to tell of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from server.notifications import WEBHOOKS, Notifications
from server.store import Store
from server.webhook_deliveries import list_deliveries
from server.webhook_endpoints import add_endpoint
from server.webhook_sender import Sender
from server.webhooks import Courier, run_webhooks
from tests.server.devices import new_id
from tests.server.receiver import Receiver
from tests.server.world import World
from twochannel.protocol.payment import Event
from twochannel.trace import wall_ms

SECRET = "whsec_" + "c2VjcmV0LW9mLXRoaXMtdGVzdC0x"
OTHER = "whsec_" + "c2VjcmV0LW9mLXRoaXMtdGVzdC0y"
DEADLINE_S = 20.0


class Post:
    """A world with an endpoint, a receiver, and the courier between them."""

    def __init__(self, world: World, receiver: Receiver, trusted: Path | None = None) -> None:
        self.world = world
        self.receiver = receiver
        self.trusted = trusted
        self.loopback = True
        self.timeout_s = 5.0
        self.ahead_ms = 0
        self.notifications = Notifications()
        self.endpoint = self.add(receiver.url + "/hooks")

    def now_ms(self) -> int:
        return wall_ms() + self.ahead_ms

    def add(self, url: str, secret: str = SECRET) -> str:
        endpoint = new_id()
        self.world.store.write_now(
            lambda c: add_endpoint(c, endpoint, "coffee", url, secret, self.now_ms())
        )
        return endpoint

    def buy(self) -> str:
        payment = self.world.request()
        self.world.confirm(payment)
        self.world.settle(payment, Event.CAPTURE)
        self.notifications.wake(WEBHOOKS)
        return payment

    def deliveries(self) -> list[dict[str, Any]]:
        return self.world.store.read_now(lambda c: list_deliveries(c, 1000))

    @asynccontextmanager
    async def running(self, store: Store | None = None) -> AsyncIterator[None]:
        sender = Sender(self.now_ms, self.timeout_s, loopback=self.loopback, trusted=self.trusted)
        courier = Courier(
            store or self.world.store, sender, self.notifications, self.now_ms, lambda: 0.0
        )
        task = asyncio.create_task(run_webhooks(courier))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await sender.close()

    async def until(self, **expected: object) -> dict[str, Any]:
        """The newest delivery, once it is so."""
        found = await self.until_all(
            lambda rows: {name: rows[0][name] for name in expected} == expected
        )
        return found[0]

    async def trouble(self) -> str:
        """What the last try of the newest delivery ended with, once it has."""
        found = await self.until_all(lambda rows: rows[0]["error"] is not None)
        return str(found[0]["error"])

    async def until_all(self, so: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """All deliveries, the newest first, once it is ``so``."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                found = self.deliveries()
                if so(found):
                    return found
                # As its operator would look at the database: nothing wakes anybody here.
                await asyncio.sleep(0.01)

    async def next(self) -> Any:
        return await asyncio.to_thread(self.receiver.next)

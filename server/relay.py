"""Wake-ups between servers that share a database on PostgreSQL (LISTEN and NOTIFY).

They make the others look at once. Nothing depends on them: whoever waits looks by itself every few
seconds (``server.services.RECHECK_S``), so a wake-up may be lost, late, or meant for nobody.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final

import psycopg

from server.notifications import Notifications
from server.postgresql_database import SHARE, conninfo, lasting

_log = logging.getLogger(__name__)

_CHANNEL: Final = "cigarjack_wake"
_NOTIFY: Final = "SELECT pg_notify(%s, topic) FROM unnest(%s::text[]) AS topic"
#: Topics that wait to be told; what is beyond them is found by looking.
_MAX_WAITING: Final = 10_000
#: Before PostgreSQL is tried again that was away.
_RETRY_S: Final = 1.0


class Relay:
    """Tells others what was woken here, and wakes here what others tell."""

    def __init__(self, url: str, notifications: Notifications) -> None:
        self._conninfo = conninfo(url)
        self._notifications = notifications
        self._waiting: asyncio.Queue[str] = asyncio.Queue(_MAX_WAITING)

    def send(self, topic: str) -> None:
        """From the event loop. Returns at once."""
        with suppress(asyncio.QueueFull):
            self._waiting.put_nowait(topic)

    async def run(self) -> None:
        """Relay until cancelled; when PostgreSQL is away, try again."""
        while True:
            try:
                async with await self._connect() as sender, await self._connect() as listener:
                    await self._relay(sender, listener)
            except (psycopg.Error, OSError) as error:
                _log.warning("relay_broken", extra={"error": str(error)})
            await asyncio.sleep(_RETRY_S)

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(
            self._conninfo, autocommit=True, **lasting("relay")
        )

    async def _relay(
        self, sender: psycopg.AsyncConnection[Any], listener: psycopg.AsyncConnection[Any]
    ) -> None:
        """Both ways until one of the connections breaks. Raises psycopg.Error."""
        # The session that the server began with is gone after a restart of PostgreSQL.
        await listener.execute(SHARE)
        await listener.execute(f"LISTEN {_CHANNEL}")
        own_pid = sender.info.backend_pid
        tasks = [
            asyncio.ensure_future(self._listen(listener, own_pid)),
            asyncio.ensure_future(self._tell(sender)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def _listen(self, listener: psycopg.AsyncConnection[Any], own_pid: int) -> None:
        async for notice in listener.notifies():
            if notice.pid != own_pid:
                self._notifications.wake(notice.payload)

    async def _tell(self, sender: psycopg.AsyncConnection[Any]) -> None:
        """Whatever waits, in one statement."""
        while True:
            topics = {await self._waiting.get()}
            while not self._waiting.empty():
                topics.add(self._waiting.get_nowait())
            await sender.execute(_NOTIFY, (_CHANNEL, sorted(topics)))

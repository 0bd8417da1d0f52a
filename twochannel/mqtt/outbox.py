"""What waits for the broker: bounded, for a broker that is away must cost an agent nothing."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, NamedTuple

#: Health of half a day, in less than a mebibyte.
WAITING_LIMIT: Final = 1000


class Message(NamedTuple):
    """One message for the broker."""

    topic: str
    payload: bytes


class Outbox:
    """Made in the event loop that empties it; filled from any thread. ``dropped``: so far."""

    def __init__(self, limit: int = WAITING_LIMIT) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        self._waiting: deque[Message] = deque()
        self._filled = asyncio.Event()
        self.dropped = 0

    def put(self, message: Message) -> None:
        """Add a message; the oldest goes if too many wait. Returns at once."""
        self._loop.call_soon_threadsafe(self._put, message)

    def _put(self, message: Message) -> None:
        self._waiting.append(message)
        self._filled.set()
        if len(self._waiting) > self._limit:
            self._waiting.popleft()
            self.dropped += 1

    def put_back(self, message: Message) -> None:
        """The oldest of all could not be sent; it is gone if too many wait already."""
        if len(self._waiting) < self._limit:
            self._waiting.appendleft(message)
            self._filled.set()
        else:
            self.dropped += 1

    async def take(self) -> Message:
        """The oldest, once there is one."""
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        return self._waiting.popleft()

    def take_now(self) -> Message | None:
        """The oldest, if there is one."""
        return self._waiting.popleft() if self._waiting else None

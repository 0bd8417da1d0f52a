"""Sightings on their way from a backend to the one consumer of ``Scanner.sightings``."""

from __future__ import annotations

import asyncio
from collections import deque

from twochannel.radio.port import RadioError, Sighting

WAITING_SIGHTINGS_LIMIT = 4096  # the port's promise: under 1 MB, 4 s of a very busy site


class SightingStream:
    """A bounded queue that drops its oldest sighting when too many wait."""

    def __init__(self) -> None:
        self._waiting: deque[Sighting] = deque()
        self._ended = False
        self._failure: str | None = None
        self._changed = asyncio.Event()

    @property
    def ended(self) -> bool:
        """True once ``end`` was called; what still waits may be read."""
        return self._ended

    def put(self, sighting: Sighting) -> int:
        """Add a sighting; the number of older ones dropped to make room for it."""
        dropped = len(self._waiting) >= WAITING_SIGHTINGS_LIMIT
        if dropped:
            self._waiting.popleft()
        self._waiting.append(sighting)
        self._changed.set()
        return int(dropped)

    def end(self, failure: str | None = None) -> None:
        """No more will come. After what still waits, the consumer gets RadioError(failure)."""
        if not self._ended:
            self._ended, self._failure = True, failure
            self._changed.set()

    def __aiter__(self) -> SightingStream:
        return self

    async def __anext__(self) -> Sighting:
        while not self._waiting:
            if self._failure is not None:
                raise RadioError(self._failure)
            if self._ended:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._waiting.popleft()

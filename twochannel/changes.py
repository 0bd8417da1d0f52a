"""Telling those who watch that something has changed; what it is they ask for themselves."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Changes:
    """For one event loop. Streams end when it is ``closed``."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.closed = False

    def mark(self) -> None:
        """Wake everybody who waits."""
        self._event.set()
        self._event = asyncio.Event()

    def close(self) -> None:
        """Nothing changes any more."""
        self.closed = True
        self.mark()

    async def wait(self, longest_s: float) -> None:
        """Until the next change, or for ``longest_s``."""
        event = self._event
        if self.closed:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await event.wait()

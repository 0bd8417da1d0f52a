"""When this server last heard of each device: for whoever looks after them, never to decide by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

#: Devices that are remembered, about 200 bytes each; who has been silent longest is forgotten.
REMEMBERED: Final = 20_000


class LastHeard:
    """Of this process and since its start. For the event loop's thread alone.

    ``now_ms``: Unix milliseconds.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        #: In the order of their last words.
        self._at_ms: dict[str, int] = {}

    def note(self, device: str) -> None:
        """A statement or proof of the device has come, and its signature holds."""
        self._at_ms.pop(device, None)
        if len(self._at_ms) >= REMEMBERED:
            del self._at_ms[next(iter(self._at_ms))]
        self._at_ms[device] = self._now_ms()

    def of(self, device: str) -> int | None:
        """When; None: not since the start, or so long ago that it is forgotten."""
        return self._at_ms.get(device)

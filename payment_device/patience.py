"""For how long a till is kept waiting: until an errand has news, or its server stays silent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from payment_device.answers import UnsettledError
from payment_device.errands import Errand


@dataclass
class Patience:
    """``silent_s``: how long a silent server is waited for before the till is told."""

    silent_s: float

    async def watch(
        self, errand: Errand | None, known: Callable[[], bool], wait_s: float, payment: str
    ) -> None:
        """Until ``known``, or ``wait_s`` has passed. Raises UnsettledError for a silent server."""
        ends_s = time.monotonic() + wait_s
        while errand is not None and not known():
            if errand.unreachable_s > self.silent_s:
                raise UnsettledError(payment)
            left_s = ends_s - time.monotonic()
            if left_s <= 0 or not await _within(left_s, errand.change()):
                return


async def _within(timeout_s: float, change: Awaitable[None]) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await change
    except TimeoutError:
        return False
    return True

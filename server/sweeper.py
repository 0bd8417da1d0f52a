"""Ends what time has ended, once a second: payments, holds, and rows that count no more."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Final

from server.allowances import outdated, purge
from server.expiry import due, sweep
from server.processor_events import outdated_events, purge_events
from server.services import Services
from server.store import StoreError

_log = logging.getLogger(__name__)

_INTERVAL_S: Final = 1.0


async def run_sweeper(services: Services) -> None:
    """Sweep until cancelled. A database that refuses is tried again in the next round."""
    while True:
        try:
            await _sweep(services)
        except StoreError as error:
            _log.error("sweep_failed", extra={"error": str(error)})
        await asyncio.sleep(_INTERVAL_S)


async def _sweep(services: Services) -> None:
    now_ms = services.now_ms()
    for old, forget in ((outdated, purge), (outdated_events, purge_events)):
        if await services.store.read(partial(old, now_ms=now_ms)):
            await services.store.write(partial(forget, now_ms=now_ms))
    if not await services.store.read(lambda connection: due(connection, now_ms)):
        return
    for change in await services.store.write(
        lambda connection: sweep(connection, now_ms, services.issuer)
    ):
        services.announce(change)

"""What an HTTP request costs a server that has nothing to do for it: a floor for whole payments."""

from __future__ import annotations

import asyncio
from typing import Final

import httpx

from fieldkit.bench import consumption
from fieldkit.process import Process
from twochannel import tls

#: For each lane: enough that the tick of the processor clock is a small part.
_REQUESTS: Final = 100
_DECIMALS: Final = 3


async def bare_request_ms(server: Process, lanes: int) -> float:
    """Processor milliseconds of the server for one ``GET /healthz`` over a kept connection."""
    context = tls.first_contact_context()
    limits = httpx.Limits(max_connections=lanes, max_keepalive_connections=lanes)
    url = str(server.ready["url"])
    async with httpx.AsyncClient(
        base_url=url, verify=context, limits=limits, timeout=30, trust_env=False
    ) as http:

        async def ask(times: int) -> None:
            for _ in range(times):
                (await http.get("/healthz")).raise_for_status()

        await asyncio.gather(*(ask(2) for _ in range(lanes)))
        before = consumption.processor_time(server.pid)
        await asyncio.gather(*(ask(_REQUESTS) for _ in range(lanes)))
        used = consumption.processor_time(server.pid) - before
    return round(used.total_ms / (lanes * _REQUESTS), _DECIMALS)

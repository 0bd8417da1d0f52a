"""What a server does beside payments: the journal, webhooks, forgetting, telling its figures."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from server.config import ServerSettings
from server.journal import Journal
from server.retention import run_retention
from server.services import Services
from server.traffic import Observer, log_request
from server.webhook_sender import Sender
from server.webhooks import Courier, run_webhooks
from twochannel.serving import Address, serve

_log = logging.getLogger(__name__)


@asynccontextmanager
async def keeping(settings: ServerSettings, services: Services) -> AsyncIterator[None]:
    """Do all of it while the block runs. If a part of it fails, everything ends. Raises OSError."""
    sender = Sender(
        services.now_ms,
        settings.webhook_timeout_s,
        loopback=settings.webhook_loopback,
        trusted=settings.webhook_ca,
    )
    courier = Courier(
        services.store, sender, services.notifications, services.now_ms, random.random
    )
    journal = Journal(services.store, services.issuer, services.now_ms)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(sender.close)
        await _tell_figures(stack, settings, services)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        tasks = [
            group.create_task(journal.run(), name="journal"),
            group.create_task(run_webhooks(courier), name="webhooks"),
            group.create_task(
                run_retention(services.store, services.now_ms, settings.keep_days),
                name="retention",
            ),
        ]
        yield
        for task in tasks:
            task.cancel()


def observers_of(settings: ServerSettings, services: Services) -> tuple[Observer, ...]:
    """Who is told of each request."""
    observers = [log_request] if settings.request_log else []
    if services.metrics is not None:
        observers.append(services.metrics.observe_request)
    return tuple(observers)


async def _tell_figures(
    stack: AsyncExitStack, settings: ServerSettings, services: Services
) -> None:
    if services.metrics is None or settings.metrics_port is None:
        return
    from server.metrics import metrics_page

    page = metrics_page(services.metrics, services)
    address = Address(settings.metrics_host, settings.metrics_port)
    served = await stack.enter_async_context(serve(page, address, connections=16))
    url = f"http://{settings.metrics_host}:{served.port}/metrics"
    _log.info("metrics_served", extra={"url": url})

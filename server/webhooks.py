"""The worker that tells merchants: takes what is due, sends it, notes how it went.

At least once: a sender that dies leaves its deliveries taken until their time is over; then they
are due again, here or at another server. The message keeps its id, by which a merchant knows it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from server.notifications import WEBHOOKS, Notifications
from server.store import Store, StoreError
from server.webhook_deliveries import Parcel, next_delivery_ms, report, take
from server.webhook_policy import Verdict
from server.webhook_sender import Sender

_log = logging.getLogger(__name__)

#: Tries at once.
MAX_TRIES: Final = 64
#: Other servers and the command line queue too, and the clock may jump.
POLL_S: Final = 1.0
#: A delivery stays taken for longer than a try by what the transaction after it may take.
_MARGIN_MS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Courier:
    """What the worker works with. ``jitter``: a random number in [0, 1)."""

    store: Store
    sender: Sender
    notifications: Notifications
    clock_ms: Callable[[], int]
    jitter: Callable[[], float]


async def run_webhooks(courier: Courier) -> None:
    """Send whatever is due until cancelled."""
    tries: dict[asyncio.Task[None], str] = {}
    with courier.notifications.listen(WEBHOOKS) as listener:
        async with asyncio.TaskGroup() as group:
            while True:
                for parcel in await _take(courier, tries.values()):
                    task = group.create_task(_deliver(courier, parcel), name=f"try {parcel.seq}")
                    tries[task] = parcel.endpoint_id
                    task.add_done_callback(tries.pop)
                    task.add_done_callback(lambda _: listener.wake())
                while (idle_s := await _idle_s(courier, tries.values())) > 0:
                    await listener.wait(idle_s)


async def _idle_s(courier: Courier, under_way: Collection[str]) -> float:
    """How long nothing is to be done. A try that ends, or a new event, wakes the worker before."""
    if len(under_way) >= MAX_TRIES:
        return POLL_S
    try:
        due_ms = await courier.store.read(lambda c: next_delivery_ms(c, under_way))
    except StoreError as error:
        _log.error("webhooks_unreadable", extra={"error": str(error)})
        return POLL_S
    if due_ms is None:
        return POLL_S
    return min(max(due_ms - courier.clock_ms(), 0) / 1000, POLL_S)


async def _take(courier: Courier, under_way: Collection[str]) -> list[Parcel]:
    limit, busy = MAX_TRIES - len(under_way), tuple(under_way)

    def look(connection: Connection) -> list[Parcel]:
        now_ms = courier.clock_ms()
        until_ms = now_ms + round(courier.sender.timeout_s * 1000) + _MARGIN_MS
        return take(connection, now_ms, until_ms, busy, limit)

    try:
        return await courier.store.write(look)
    except StoreError as error:
        _log.error("webhooks_unreadable", extra={"error": str(error)})
        await asyncio.sleep(POLL_S)
        return []


async def _deliver(courier: Courier, parcel: Parcel) -> None:
    """One try and its record. If that fails the delivery is due again after a while."""
    tried = await courier.sender.send(parcel)
    now_ms, jitter = courier.clock_ms(), courier.jitter()
    fields = {
        "event_id": parcel.event_id,
        "endpoint": parcel.endpoint_id,
        "attempt": parcel.attempts,
        "status": tried.status,
        "error": tried.error,
    }
    try:
        verdict = await courier.store.write(lambda c: report(c, parcel, tried, now_ms, jitter))
    except StoreError as error:
        _log.error("webhook_try_not_recorded", extra=fields | {"error": str(error)})
        return
    told = logging.INFO if verdict is Verdict.DELIVERED else logging.WARNING
    _log.log(told, "webhook_tried", extra=fields | {"verdict": verdict.value})

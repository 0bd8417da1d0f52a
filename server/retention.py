"""Forgets what nobody needs any more, by age. Payments and their evidence are kept for ever.

What phones were told and what merchants were told, enrolment codes that are used or expired. What
is not over (a message that is still to be sent) is kept however old it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from sqlalchemy import Connection, bindparam, delete, func, select

from server.schema.notices import phone_events
from server.schema.parties import enrolment_codes
from server.schema.webhooks import QUEUED, webhook_deliveries, webhook_events, webhook_tries
from server.store import Store, StoreError

_log = logging.getLogger(__name__)

#: Between two looks. Nobody notices what is kept for some minutes too long.
INTERVAL_S: Final = 600.0
#: Rows of one transaction: bounds how long the one writer is held.
BATCH: Final = 500
_DAY_MS: Final = 86_400_000


#: The newest stays: a later one must not get its number, which a phone may have seen.
_OLD_EVENTS: Final = delete(phone_events).where(
    phone_events.c.seq.in_(
        select(phone_events.c.seq)
        .where(
            phone_events.c.seq < select(func.max(phone_events.c.seq)).scalar_subquery(),
            phone_events.c.at_ms < bindparam("before_ms"),
        )
        .order_by(phone_events.c.seq)
        .limit(bindparam("batch"))
    )
)
_OLD_CODES: Final = delete(enrolment_codes).where(
    enrolment_codes.c.expires_ms < bindparam("before_ms")
)
_OLD_MESSAGES: Final = (
    select(webhook_events.c.id)
    .where(
        webhook_events.c.at_ms < bindparam("before_ms"),
        ~select(webhook_deliveries.c.seq)
        .where(webhook_deliveries.c.event_id == webhook_events.c.id, QUEUED)
        .exists(),
    )
    .order_by(webhook_events.c.at_ms)
    .limit(bindparam("batch"))
)


def forget(connection: Connection, before_ms: int, batch: int = BATCH) -> dict[str, int]:
    """Delete ``batch`` of what is older than ``before_ms``; how much of each."""
    asked = {"before_ms": before_ms, "batch": batch}
    codes = connection.execute(_OLD_CODES, {"before_ms": before_ms}).rowcount
    return {
        "phone_events": connection.execute(_OLD_EVENTS, asked).rowcount,
        "enrolment_codes": codes,
        "webhook_events": _forget_messages(connection, asked),
    }


def _forget_messages(connection: Connection, asked: dict[str, int]) -> int:
    old = list(connection.scalars(_OLD_MESSAGES, asked))
    if not old:
        return 0
    deliveries = webhook_deliveries.c.event_id.in_(old)
    sent = select(webhook_deliveries.c.seq).where(deliveries)
    connection.execute(delete(webhook_tries).where(webhook_tries.c.delivery_seq.in_(sent)))
    connection.execute(delete(webhook_deliveries).where(deliveries))
    return connection.execute(delete(webhook_events).where(webhook_events.c.id.in_(old))).rowcount


async def run_retention(store: Store, now_ms: Callable[[], int], keep_days: int) -> None:
    """Forget until cancelled. ``keep_days`` 0: nothing is forgotten."""
    while keep_days:
        before_ms = now_ms() - keep_days * _DAY_MS
        try:
            forgotten = await store.write(partial(forget, before_ms=before_ms, batch=BATCH))
        except StoreError as error:
            _log.error("retention_blocked", extra={"error": str(error)})
            forgotten = {}
        if any(forgotten.values()):
            _log.info("forgotten", extra=forgotten)
        if max(forgotten.values(), default=0) < BATCH:
            await asyncio.sleep(INTERVAL_S)

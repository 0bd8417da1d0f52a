"""What the processor tells unasked: kept once, and a reason to look up what it is about.

Events come late, twice, in any order, and may contradict what is known. None of them moves money or
changes a payment. It lets the reconciler ask at once what it would ask later, and what is recorded
already be compared with what the processor says by now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from server.calls import Job
from server.disagreements import done_jobs
from server.kinds import OutboxState
from server.reviews import NEEDS_REVIEW
from server.schema.orders import OPEN_ORDER, outbox
from server.schema.reviews import processor_events

#: Processors deliver again for some days; after that an event is not known again.
EVENT_LIFETIME_MS: Final = 30 * 24 * 3600 * 1000

_KNOWN: Final = select(processor_events.c.id).where(processor_events.c.id == bindparam("event"))
_ADD: Final = insert(processor_events)
_WAKE: Final = update(outbox).where(
    OPEN_ORDER,
    outbox.c.payment_id == bindparam("payment"),
    outbox.c.state == OutboxState.UNKNOWN.value,
    outbox.c.reason.is_distinct_from(NEEDS_REVIEW),
)
_OLD: Final = processor_events.c.received_ms <= bindparam("before_ms")


@dataclass(frozen=True, slots=True)
class ProcessorEvent:
    """``payment_id``: as the processor has it from us; None: about something else."""

    id: str
    kind: str
    payment_id: str | None


def jobs_about(connection: Connection, event: ProcessorEvent) -> list[Job]:
    """What is to be looked up before an event is kept: nothing, if it is known."""
    if event.payment_id is None or _known(connection, event):
        return []
    return done_jobs(connection, event.payment_id)


def note_event(connection: Connection, event: ProcessorEvent, now_ms: int) -> bool:
    """Keep an event; whether there is something to look up. One that is known does nothing."""
    if _known(connection, event):
        return False
    row = {"id": event.id, "kind": event.kind, "payment_id": event.payment_id}
    connection.execute(_ADD, row | {"received_ms": now_ms})
    return wake_orders(connection, event, now_ms)


def wake_orders(connection: Connection, event: ProcessorEvent, now_ms: int) -> bool:
    """Have what is unknown of its payment looked up at once; whether there is something."""
    if event.payment_id is None:
        return False
    woken = connection.execute(_WAKE, {"payment": event.payment_id, "next_at_ms": now_ms})
    return woken.rowcount > 0


def _known(connection: Connection, event: ProcessorEvent) -> bool:
    return connection.execute(_KNOWN, {"event": event.id}).first() is not None


def outdated_events(connection: Connection, now_ms: int) -> bool:
    """Whether there is something for ``purge_events``."""
    old = select(processor_events.c.id).where(_OLD).limit(1)
    return connection.execute(old, {"before_ms": now_ms - EVENT_LIFETIME_MS}).first() is not None


def purge_events(connection: Connection, now_ms: int) -> None:
    """Forget what was told long ago."""
    connection.execute(
        delete(processor_events).where(_OLD), {"before_ms": now_ms - EVENT_LIFETIME_MS}
    )

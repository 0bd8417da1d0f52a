"""Orders that a person must decide: putting them into the queue, and showing it.

Every function is a part of a transaction. What a person decides takes effect in
``server.review_decisions``.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Row, Select, bindparam, insert, select

from server.kinds import Operation, OutboxState
from server.schema.orders import outbox
from server.schema.payments import payments
from server.schema.reviews import processor_events, reviews

#: ``reason`` of an unknown row that no program may decide: a person must ask the processor.
NEEDS_REVIEW: Final = "needs_review"

_OPEN: Final = select(reviews.c.id).where(
    reviews.c.outbox_id == bindparam("row"), reviews.c.decision.is_(None)
)
_ADD: Final = insert(reviews)
_REVIEWS: Final = (
    select(
        reviews,
        outbox.c.payment_id,
        outbox.c.operation,
        outbox.c.refund_id,
        outbox.c.amount_minor,
        outbox.c.currency,
        outbox.c.state,
        outbox.c.reason,
        outbox.c.attempts,
        outbox.c.idempotency_key,
        outbox.c.created_ms,
        payments.c.status,
        payments.c.reference,
        payments.c.processor_reference.label("charge"),
    )
    .join(outbox, outbox.c.id == reviews.c.outbox_id)
    .join(payments, payments.c.id == outbox.c.payment_id)
)
_EVENTS: Final = (
    select(processor_events.c.kind, processor_events.c.received_ms)
    .where(processor_events.c.payment_id == bindparam("payment"))
    .order_by(processor_events.c.received_ms, processor_events.c.id)
)

ReviewRow = Row[Any]


class ReviewError(Exception):
    """There is no such review, or it cannot be decided so. The text says what to do next."""


def open_review(connection: Connection, row_id: int, cause: str, at_ms: int) -> None:
    """Put an order into the queue. One that is there already stays there for its first cause."""
    if connection.execute(_OPEN, {"row": row_id}).first() is None:
        connection.execute(_ADD, {"outbox_id": row_id, "cause": cause, "opened_ms": at_ms})


def list_reviews(connection: Connection, *, decided: bool = False) -> list[dict[str, Any]]:
    """What waits for a person, the oldest first; or what was decided, the newest first."""
    query: Select[Any] = _REVIEWS.where(reviews.c.decision.is_(None)).order_by(reviews.c.id)
    if decided:
        query = _REVIEWS.where(reviews.c.decision.is_not(None)).order_by(
            reviews.c.decided_ms.desc(), reviews.c.id.desc()
        )
    return [view(row) for row in connection.execute(query)]


def show_review(connection: Connection, review_id: int) -> dict[str, Any]:
    """One review, with what the processor has told of its payment. Raises ReviewError."""
    row = get_review(connection, review_id)
    events = connection.execute(_EVENTS, {"payment": row.payment_id})
    return view(row) | {"processor_events": [dict(event._mapping) for event in events]}


def get_review(connection: Connection, review_id: int) -> ReviewRow:
    """Raises ReviewError."""
    row = connection.execute(_REVIEWS.where(reviews.c.id == review_id)).one_or_none()
    if row is None:
        raise ReviewError(f"there is no review {review_id}; see: cigarjack-server reviews list")
    return row


def undecided(row: ReviewRow) -> bool:
    """Whether nobody knows yet what became of the order, and a person is to say it."""
    return bool(row.state == OutboxState.UNKNOWN.value and row.reason == NEEDS_REVIEW)


def view(row: ReviewRow) -> dict[str, Any]:
    """A review as commands show it. ``charge``: what the processor calls the hold or charge."""
    charge = None if row.operation == Operation.CHARGE.value else row.charge
    return {
        "id": row.id,
        "payment": row.payment_id,
        "reference": row.reference,
        "status": row.status,
        "operation": row.operation,
        "refund": row.refund_id,
        "amount": {"value": row.amount_minor, "currency": row.currency},
        "idempotency_key": row.idempotency_key,
        "charge": charge,
        "state": row.state,
        "undecided": undecided(row) and row.decision is None,
        "cause": row.cause,
        "ordered_ms": row.created_ms,
        "opened_ms": row.opened_ms,
        "decision": row.decision,
        "processor_reference": row.processor_reference,
        "decided_by": row.decided_by,
        "why": row.why,
        "decided_ms": row.decided_ms,
    }

"""A payment as its operator sees it: state, history, signers, orders to the processor."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, select

from server.payments import get_payment, view
from server.refunds import refunds_of
from server.schema.orders import outbox
from server.schema.payments import ACTIVE, payment_events, payments, statements


def recent_payments(
    connection: Connection, limit: int, *, reference: str | None = None, active: bool = False
) -> list[dict[str, object]]:
    """The newest payments of everyone; of a merchant's ``reference``; those that are not over."""
    query = select(payments).order_by(payments.c.created_ms.desc(), payments.c.id.desc())
    if reference is not None:
        query = query.where(payments.c.reference == reference)
    if active:
        query = query.where(ACTIVE)
    return [view(row) for row in connection.execute(query.limit(limit))]


def show_payment(connection: Connection, payment_id: str) -> dict[str, Any]:
    """One payment whole. Raises PaymentError (``payment_unknown``)."""
    row = get_payment(connection, payment_id)
    parties = {"terminal": row.terminal_id, "jack": row.jack_id, "phone": row.phone_id}
    history = select(
        payment_events.c.from_status.label("from"),
        payment_events.c.event,
        payment_events.c.to_status.label("to"),
        payment_events.c.at_ms,
    )
    signed = select(statements.c.position, statements.c.typ, statements.c.kid)
    orders = select(
        outbox.c.operation,
        outbox.c.amount_minor,
        outbox.c.state,
        outbox.c.attempts,
        outbox.c.outcome,
        outbox.c.reason,
        outbox.c.processor_reference,
    )
    return {
        "payment": view(row),
        "parties": parties,
        "refunds": refunds_of(connection, payment_id),
        "history": _rows(
            connection,
            history.where(payment_events.c.payment_id == payment_id).order_by(payment_events.c.seq),
        ),
        "statements": _rows(
            connection,
            signed.where(statements.c.payment_id == payment_id).order_by(statements.c.position),
        ),
        "outbox": _rows(
            connection, orders.where(outbox.c.payment_id == payment_id).order_by(outbox.c.id)
        ),
    }


def _rows(connection: Connection, query: Select[Any]) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in connection.execute(query)]

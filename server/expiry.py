"""What time ends: pending payments that nobody confirmed, holds that nobody captured."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, bindparam, literal_column, select

from server.issuer import Issuer
from server.kinds import Operation
from server.payments import Change, PaymentRow, begin_void, settle
from server.schema.orders import outbox
from server.schema.payments import payments
from server.settlement import Ended
from twochannel.protocol.limits import HOLD_RELEASE_RETRY_S
from twochannel.protocol.payment import Event, Status

#: Rows of one sweep: bounds how long one transaction holds the writer.
_MAX_ROWS: Final = 100
_PENDING = (
    select(payments)
    .where(
        payments.c.status == literal_column(f"'{Status.PENDING}'"),
        payments.c.expires_s <= bindparam("now_s"),
    )
    .limit(_MAX_ROWS)
)
_TRIED = select(outbox.c.id).where(
    outbox.c.payment_id == payments.c.id,
    outbox.c.operation == Operation.VOID.value,
    outbox.c.created_ms > bindparam("tried_ms"),
)
#: Holds past their time that nobody has tried to void of late.
_HOLDS = (
    select(payments)
    .where(
        payments.c.status == literal_column(f"'{Status.AUTHORIZED}'"),
        payments.c.operation.is_(None),
        payments.c.hold_expires_ms <= bindparam("now_ms"),
        ~_TRIED.exists(),
    )
    .limit(_MAX_ROWS)
)


def expired(row: PaymentRow, now_ms: int) -> bool:
    """Whether a pending payment is past its time."""
    return now_ms // 1000 >= int(row.expires_s)


def expire(connection: Connection, row: PaymentRow, now_ms: int, issuer: Issuer) -> Change:
    """End a pending payment that is past its time."""
    return settle(connection, row, Event.EXPIRE, now_ms, issuer, reason="nobody_answered")


def due(connection: Connection, now_ms: int) -> bool:
    """Whether a sweep would find anything; a look that costs the writer nothing."""
    ended = _ended(now_ms)
    return (
        connection.execute(_PENDING, ended).first() is not None
        or connection.execute(_HOLDS, ended).first() is not None
    )


def sweep(connection: Connection, now_ms: int, issuer: Issuer) -> list[Change]:
    """Expire what is pending past its time; void holds past theirs, through the outbox."""
    ended = _ended(now_ms)
    changes = [
        expire(connection, row, now_ms, issuer) for row in connection.execute(_PENDING, ended).all()
    ]
    for row in connection.execute(_HOLDS, ended).all():
        changes.append(begin_void(connection, row, Ended.BY_TIME, now_ms))
    return changes


def _ended(now_ms: int) -> dict[str, int]:
    tried_ms = now_ms - HOLD_RELEASE_RETRY_S * 1000
    return {"now_ms": now_ms, "now_s": now_ms // 1000, "tried_ms": tried_ms}

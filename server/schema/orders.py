"""Tables of what the processor is asked: refunds and the outbox."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
)

from server.kinds import Operation, OutboxState, Outcome, RequestedBy
from server.schema.columns import SEQUENCE, metadata, one_of
from twochannel.protocol.limits import MAX_AMOUNT_MINOR
from twochannel.protocol.payment import RefundStatus

#: ``id`` is the ``jti`` of the statement that asked for it; ``receipt`` the one that answers it.
refunds = Table(
    "refunds",
    metadata,
    Column("id", Text, primary_key=True),
    Column("payment_id", ForeignKey("payments.id"), nullable=False, index=True),
    Column("status", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("reference", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("processor_reference", Text),
    Column("reason", Text),
    Column("receipt", Text),
    Column("created_ms", BigInteger, nullable=False),
    Column("settled_ms", BigInteger),
    one_of("status", RefundStatus),
    one_of("requested_by", RequestedBy),
    CheckConstraint(f"amount_minor BETWEEN 1 AND {MAX_AMOUNT_MINOR}", name="amount_bounded"),
    CheckConstraint("(status = 'succeeded') = (receipt IS NOT NULL)", name="receipt_of_success"),
)

_NOT_REFUSED_REFUND = refunds.c.status != RefundStatus.REFUSED.value
Index(
    "uq_refunds_reference",
    refunds.c.payment_id,
    refunds.c.reference,
    unique=True,
    sqlite_where=_NOT_REFUSED_REFUND,
    postgresql_where=_NOT_REFUSED_REFUND,
)

#: What the processor is to be asked. Rows are queued in the transaction that decides on them, and
#: called and finished by ``server.outbox`` alone. ``turn`` counts a payment's orders of one
#: operation: what was refused may be ordered anew, but for the charge, whose refusal is final.
#: Only refunds succeed more than once; each has one order.
outbox = Table(
    "outbox",
    metadata,
    Column("id", SEQUENCE, primary_key=True, autoincrement=True),
    Column("payment_id", ForeignKey("payments.id"), nullable=False),
    Column("operation", Text, nullable=False),
    Column("turn", Integer, nullable=False),
    Column("refund_id", ForeignKey("refunds.id"), unique=True),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("idempotency_key", Text, nullable=False, unique=True),
    Column("state", Text, nullable=False, server_default=OutboxState.QUEUED.value),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("lease_until_ms", BigInteger),
    Column("next_at_ms", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("done_ms", BigInteger),
    Column("outcome", Text),
    Column("processor_reference", Text),
    Column("reason", Text),
    UniqueConstraint("payment_id", "operation", "turn"),
    one_of("operation", Operation),
    one_of("state", OutboxState),
    one_of("outcome", Outcome),
    CheckConstraint("(state = 'done') = (outcome IS NOT NULL)", name="done_has_outcome"),
    CheckConstraint("amount_minor >= 0", name="amount_not_negative"),
    CheckConstraint("turn >= 1", name="turn_counts"),
    CheckConstraint("turn = 1 OR operation <> 'charge'", name="charge_once"),
    CheckConstraint("(operation = 'refund') = (refund_id IS NOT NULL)", name="refund_named"),
    sqlite_autoincrement=True,
)
#: A term of every query for open orders: without it SQLite reads all that was ever done.
OPEN_ORDER: Final = outbox.c.state != literal_column(f"'{OutboxState.DONE}'")
Index("ix_outbox_open", outbox.c.next_at_ms, sqlite_where=OPEN_ORDER, postgresql_where=OPEN_ORDER)
_NOT_REFUSED = (outbox.c.operation != Operation.REFUND.value) & (
    outbox.c.outcome.is_(None) | (outbox.c.outcome == Outcome.SUCCEEDED.value)
)
Index(
    "uq_outbox_not_refused",
    outbox.c.payment_id,
    outbox.c.operation,
    unique=True,
    sqlite_where=_NOT_REFUSED,
    postgresql_where=_NOT_REFUSED,
)

"""Tables of payments: each one, its statements and its history."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
)

from server.schema.columns import SEQUENCE, metadata, one_of
from twochannel.protocol.limits import MAX_AMOUNT_MINOR
from twochannel.protocol.payment import CaptureMode, Event, Status

#: ``amount_minor`` is what the owner is asked for. ``operation``: capture or void under way.
#: ``merchant_name`` and ``presence`` are the registry's at the time of the request. ``phone_id``:
#: the owner's, until another phone has decided. ``asked``: ids of all, if several.
payments = Table(
    "payments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("status", Text, nullable=False),
    Column("capture", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("authorized_minor", BigInteger, nullable=False, server_default="0"),
    Column("captured_minor", BigInteger, nullable=False, server_default="0"),
    Column("refunded_minor", BigInteger, nullable=False, server_default="0"),
    Column("merchant_id", ForeignKey("merchants.id"), nullable=False),
    Column("merchant_name", Text, nullable=False),
    Column("presence", Text, nullable=False),
    Column("terminal_id", ForeignKey("terminals.id"), nullable=False),
    Column("jack_id", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("phone_id", ForeignKey("phones.id"), nullable=False),
    Column("lane", Text, nullable=False),
    Column("lane_digest", Text, nullable=False, unique=True),
    Column("reference", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("match_code", Text, nullable=False),
    Column("payment_method_id", ForeignKey("payment_methods.id")),
    Column("processor_reference", Text),
    Column("operation", Text),
    Column("reason", Text),
    Column("receipt", Text),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_s", BigInteger, nullable=False),
    Column("settled_ms", BigInteger),
    Column("hold_expires_ms", BigInteger),
    Column("asked", Text),
    ForeignKeyConstraint(["jack_id", "epoch"], ["pairings.jack_id", "pairings.epoch"]),
    one_of("status", Status),
    one_of("capture", CaptureMode),
    CheckConstraint("operation IN ('capture', 'void')", name="operation_known"),
    CheckConstraint("operation IS NULL OR status = 'authorized'", name="operation_of_hold"),
    CheckConstraint(f"amount_minor BETWEEN 1 AND {MAX_AMOUNT_MINOR}", name="amount_bounded"),
    CheckConstraint("authorized_minor BETWEEN 0 AND amount_minor", name="authorized_agreed"),
    CheckConstraint("captured_minor BETWEEN 0 AND authorized_minor", name="captured_authorized"),
    CheckConstraint("refunded_minor BETWEEN 0 AND captured_minor", name="refunded_captured"),
)

_PENDING = payments.c.status == Status.PENDING.value
Index(
    "uq_payments_pending_jack",
    payments.c.jack_id,
    unique=True,
    sqlite_where=_PENDING,
    postgresql_where=_PENDING,
)
Index(
    "uq_payments_pending_terminal",
    payments.c.terminal_id,
    unique=True,
    sqlite_where=_PENDING,
    postgresql_where=_PENDING,
)
Index("ix_payments_terminal_created", payments.c.terminal_id, payments.c.created_ms, payments.c.id)
Index("ix_payments_phone_created", payments.c.phone_id, payments.c.created_ms, payments.c.id)
Index(
    "ix_payments_terminal_reference",
    payments.c.terminal_id,
    payments.c.reference,
    payments.c.created_ms,
    payments.c.id,
)
#: A term of every query for what is not over: see OPEN_ORDER.
ACTIVE: Final = payments.c.status.in_(
    [
        literal_column(f"'{status}'")
        for status in (Status.PENDING, Status.CONFIRMED, Status.UNKNOWN, Status.AUTHORIZED)
    ]
)
#: A term of every query for prompts that the owner did not approve.
UNAPPROVED: Final = payments.c.status.in_(
    [
        literal_column(f"'{status}'")
        for status in (Status.PENDING, Status.DECLINED, Status.EXPIRED, Status.CANCELED)
    ]
)
for _party in ("jack", "terminal"):
    Index(
        f"ix_payments_{_party}_unapproved",
        payments.c[f"{_party}_id"],
        payments.c.created_ms,
        payments.c.id,
        sqlite_where=UNAPPROVED,
        postgresql_where=UNAPPROVED,
    )
Index(
    "ix_payments_terminal_active",
    payments.c.terminal_id,
    payments.c.created_ms,
    payments.c.id,
    sqlite_where=ACTIVE,
    postgresql_where=ACTIVE,
)
Index(
    "ix_payments_hold_expires",
    payments.c.hold_expires_ms,
    sqlite_where=payments.c.status == Status.AUTHORIZED.value,
    postgresql_where=payments.c.status == Status.AUTHORIZED.value,
)

#: The chain: ``position`` counts a payment's statements from 1 in the order they were accepted.
#: ``seq`` numbers those of all payments, with gaps: by it the journal follows (``server.journal``).
statements = Table(
    "statements",
    metadata,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
    Column("payment_id", ForeignKey("payments.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("typ", Text, nullable=False),
    Column("kid", Text, nullable=False),
    Column("jti", Text, nullable=False, unique=True),
    Column("digest", Text, nullable=False, unique=True),
    Column("compact", Text, nullable=False),
    UniqueConstraint("payment_id", "position"),
    CheckConstraint("position >= 1", name="position_counts"),
)

#: What each phone was sent by a payment that has asked several. ``withdrawn_ms``: it will not
#: decide.
challenges = Table(
    "challenges",
    metadata,
    Column("payment_id", ForeignKey("payments.id"), primary_key=True),
    Column("phone_id", ForeignKey("phones.id"), primary_key=True),
    Column("compact", Text, nullable=False),
    Column("withdrawn_ms", BigInteger),
)

#: The history: each row one step of the transition table.
payment_events = Table(
    "payment_events",
    metadata,
    Column("payment_id", ForeignKey("payments.id"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("from_status", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("to_status", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    one_of("from_status", Status),
    one_of("event", Event),
    one_of("to_status", Status),
)

"""The server's tables (SQLAlchemy Core). Constraints state the invariants that a database can.

Times end in ``_ms`` (Unix milliseconds) or ``_s`` (Unix seconds); amounts are integer minor units
of the payment's currency. Ids of devices are key thumbprints, ids of payments and statements
UUIDs. Rows of ``statements``, ``payment_events``, ``pairings`` and ``phone_events`` are written
once and never change. Private keys are in the key store, never here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
)

from server.kinds import (
    FailureKind,
    Operation,
    OutboxState,
    Outcome,
    PhoneEventKind,
    RequestedBy,
)
from twochannel.protocol.limits import MAX_AMOUNT_MINOR
from twochannel.protocol.payment import CaptureMode, Event, RefundStatus, Status
from twochannel.protocol.statements import Presence

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: SQLite numbers rows by itself only in a column that is INTEGER to the letter.
_Sequence = BigInteger().with_variant(Integer, "sqlite")


def _one_of(column: str, kind: type[StrEnum]) -> CheckConstraint:
    members = ", ".join(f"'{member.value}'" for member in kind)
    return CheckConstraint(f"{column} IN ({members})", name=f"{column}_known")


merchants = Table(
    "merchants",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("presence", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    _one_of("presence", Presence),
)

terminals = Table(
    "terminals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("key", Text, nullable=False),
    Column("merchant_id", ForeignKey("merchants.id"), nullable=False),
    Column("lane", Text, nullable=False),
    Column("enrolled_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
)

phones = Table(
    "phones",
    metadata,
    Column("id", Text, primary_key=True),
    Column("key", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("enrolled_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
)

#: ``epoch`` is that of the current pairing, ``last_counter`` the highest accepted auth code's.
jacks = Table(
    "jacks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("key", Text, nullable=False),
    Column("beacon_key", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("phone_id", ForeignKey("phones.id"), nullable=False),
    Column("last_counter", BigInteger, nullable=False, server_default="0"),
    Column("paired_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
    CheckConstraint("epoch >= 1", name="epoch_positive"),
    CheckConstraint("last_counter >= 0", name="last_counter_counts"),
)

#: Every acceptance ever stored. ``seq`` tells other processes that there is a new one.
pairings = Table(
    "pairings",
    metadata,
    Column("seq", _Sequence, primary_key=True, autoincrement=True),
    Column("jack_id", ForeignKey("jacks.id"), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("phone_id", ForeignKey("phones.id"), nullable=False),
    Column("digest", Text, nullable=False, unique=True),
    Column("compact", Text, nullable=False),
    Column("paired_ms", BigInteger, nullable=False),
    UniqueConstraint("jack_id", "epoch"),
    sqlite_autoincrement=True,
)

#: ``hash``: SHA-256 of the code, hex. The code itself is shown once and never stored.
enrolment_codes = Table(
    "enrolment_codes",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("merchant_id", ForeignKey("merchants.id")),
    Column("expires_ms", BigInteger, nullable=False),
    Column("used_ms", BigInteger),
    Column("used_by", Text),
    Column("used_digest", Text, unique=True),
    CheckConstraint("role IN ('phone', 'terminal')", name="role_enrols"),
    CheckConstraint("(role = 'terminal') = (merchant_id IS NOT NULL)", name="terminal_merchant"),
    CheckConstraint("(used_ms IS NULL) = (used_digest IS NULL)", name="used_whole"),
)

#: ``id`` is the ``jti`` of the statement that registered it.
payment_methods = Table(
    "payment_methods",
    metadata,
    Column("id", Text, primary_key=True),
    Column("phone_id", ForeignKey("phones.id"), nullable=False, index=True),
    Column("token", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("digest", Text, nullable=False, unique=True),
    Column("compact", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

#: ``amount_minor`` is what the owner is asked for. ``operation``: capture or void under way.
#: ``merchant_name`` and ``presence`` are the registry's at the time of the request.
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
    ForeignKeyConstraint(["jack_id", "epoch"], ["pairings.jack_id", "pairings.epoch"]),
    _one_of("status", Status),
    _one_of("capture", CaptureMode),
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
statements = Table(
    "statements",
    metadata,
    Column("payment_id", ForeignKey("payments.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("typ", Text, nullable=False),
    Column("kid", Text, nullable=False),
    Column("jti", Text, nullable=False, unique=True),
    Column("digest", Text, nullable=False, unique=True),
    Column("compact", Text, nullable=False),
    CheckConstraint("position >= 1", name="position_counts"),
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
    _one_of("from_status", Status),
    _one_of("event", Event),
    _one_of("to_status", Status),
)

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
    _one_of("status", RefundStatus),
    _one_of("requested_by", RequestedBy),
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
    Column("id", _Sequence, primary_key=True, autoincrement=True),
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
    _one_of("operation", Operation),
    _one_of("state", OutboxState),
    _one_of("outcome", Outcome),
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

#: What a phone is told; ``seq`` is the event's id on the wire.
phone_events = Table(
    "phone_events",
    metadata,
    Column("seq", _Sequence, primary_key=True, autoincrement=True),
    Column("phone_id", ForeignKey("phones.id"), nullable=False),
    Column("payment_id", ForeignKey("payments.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    _one_of("kind", PhoneEventKind),
    Index("ix_phone_events_phone_seq", "phone_id", "seq"),
    sqlite_autoincrement=True,
)

#: Refusals that leave no other row, for the limits (``server.allowances``); purged by the sweeper.
failures = Table(
    "failures",
    metadata,
    Column("seq", _Sequence, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    _one_of("kind", FailureKind),
    Index("ix_failures_subject_at", "kind", "subject", "at_ms"),
    Index("ix_failures_at", "at_ms"),
    sqlite_autoincrement=True,
)

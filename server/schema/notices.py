"""Tables of what phones are told and of refusals that are counted."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Table, Text

from server.kinds import FailureKind, PhoneEventKind
from server.schema.columns import SEQUENCE, metadata, one_of

#: What a phone is told; ``seq`` is the event's id on the wire.
phone_events = Table(
    "phone_events",
    metadata,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
    Column("phone_id", ForeignKey("phones.id"), nullable=False),
    Column("payment_id", ForeignKey("payments.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    one_of("kind", PhoneEventKind),
    Index("ix_phone_events_phone_seq", "phone_id", "seq"),
    sqlite_autoincrement=True,
)

#: Refusals that leave no other row, for the limits (``server.allowances``); purged by the sweeper.
failures = Table(
    "failures",
    metadata,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    one_of("kind", FailureKind),
    Index("ix_failures_subject_at", "kind", "subject", "at_ms"),
    Index("ix_failures_at", "at_ms"),
    sqlite_autoincrement=True,
)

"""Tables of what a person must decide, and of what the processor has told unasked."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Table, Text

from server.kinds import ReviewDecision
from server.schema.columns import SEQUENCE, metadata, one_of

#: An order of the outbox that no program may decide: why, and what a person made of it.
reviews = Table(
    "reviews",
    metadata,
    Column("id", SEQUENCE, primary_key=True, autoincrement=True),
    Column("outbox_id", ForeignKey("outbox.id"), nullable=False),
    Column("cause", Text, nullable=False),
    Column("opened_ms", BigInteger, nullable=False),
    Column("decision", Text),
    Column("processor_reference", Text),
    Column("decided_by", Text),
    Column("why", Text),
    Column("decided_ms", BigInteger),
    one_of("decision", ReviewDecision),
    CheckConstraint(
        "(decision IS NULL) = (decided_ms IS NULL)"
        " AND (decision IS NULL) = (decided_by IS NULL) AND (decision IS NULL) = (why IS NULL)",
        name="decided_whole",
    ),
    CheckConstraint(
        "processor_reference IS NULL OR decision = 'carried_out'", name="reference_of_success"
    ),
    sqlite_autoincrement=True,
)
_OPEN = reviews.c.decision.is_(None)
Index(
    "uq_reviews_open",
    reviews.c.outbox_id,
    unique=True,
    sqlite_where=_OPEN,
    postgresql_where=_OPEN,
)
Index("ix_reviews_outbox", reviews.c.outbox_id)

#: What the processor told by webhook, each once, ``payment_id`` as it named it. It moves nothing.
processor_events = Table(
    "processor_events",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("payment_id", Text),
    Column("received_ms", BigInteger, nullable=False),
    Index("ix_processor_events_payment", "payment_id"),
    Index("ix_processor_events_received", "received_ms"),
)

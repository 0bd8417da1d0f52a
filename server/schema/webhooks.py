"""Tables of webhooks: where merchants are told, what they are told, and how each try went."""

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

from server.kinds import DeliveryState, EndpointState
from server.schema.columns import SEQUENCE, metadata, one_of

#: ``former_secret`` signs beside ``secret`` until ``former_until_ms``.
webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", Text, primary_key=True),
    Column("merchant_id", ForeignKey("merchants.id"), nullable=False, index=True),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("former_secret", Text),
    Column("former_until_ms", BigInteger),
    Column("state", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    one_of("state", EndpointState),
    CheckConstraint("(former_secret IS NULL) = (former_until_ms IS NULL)", name="former_whole"),
)

#: ``id`` is the ``webhook-id``, ``body`` what is sent, the same bytes at every try.
webhook_events = Table(
    "webhook_events",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("payment_id", ForeignKey("payments.id"), nullable=False),
    Column("body", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Index("ix_webhook_events_at", "at_ms"),
)

#: One event for one endpoint. Whoever takes it to send it moves ``next_at_ms`` behind the end of
#: the try: nobody else takes it meanwhile, and if its sender dies it is due again. ``attempts``
#: counts all tries, ``round_attempts`` those since it was last queued by hand; ``queued_ms`` is
#: when that was, or when it was made.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
    Column("event_id", ForeignKey("webhook_events.id"), nullable=False),
    Column("endpoint_id", ForeignKey("webhook_endpoints.id"), nullable=False),
    Column("state", Text, nullable=False, server_default=DeliveryState.QUEUED.value),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("round_attempts", Integer, nullable=False, server_default="0"),
    Column("queued_ms", BigInteger, nullable=False),
    Column("next_at_ms", BigInteger, nullable=False),
    Column("done_ms", BigInteger),
    UniqueConstraint("event_id", "endpoint_id"),
    one_of("state", DeliveryState),
    sqlite_autoincrement=True,
)
#: A term of every query for what is to be sent: see OPEN_ORDER.
QUEUED: Final = webhook_deliveries.c.state == literal_column(f"'{DeliveryState.QUEUED}'")
Index(
    "ix_webhook_deliveries_queued",
    webhook_deliveries.c.next_at_ms,
    sqlite_where=QUEUED,
    postgresql_where=QUEUED,
)

#: The log: ``status`` of the answer, or ``error`` if there was none.
webhook_tries = Table(
    "webhook_tries",
    metadata,
    Column("delivery_seq", ForeignKey("webhook_deliveries.seq"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("took_ms", BigInteger, nullable=False),
    Column("status", Integer),
    Column("error", Text),
    CheckConstraint("(status IS NULL) = (error IS NOT NULL)", name="one_outcome"),
)

"""Tables of who takes part: merchants, devices, pairings, enrolment codes, payment methods."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Table,
    Text,
    UniqueConstraint,
)

from server.schema.columns import SEQUENCE, metadata, one_of
from twochannel.protocol.statements import Presence

merchants = Table(
    "merchants",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("presence", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    one_of("presence", Presence),
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
#: ``released_ms``: its phone has ended that pairing.
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
    Column("released_ms", BigInteger),
    CheckConstraint("epoch >= 1", name="epoch_positive"),
    CheckConstraint("last_counter >= 0", name="last_counter_counts"),
    Index("ix_jacks_phone", "phone_id"),
    Index("uq_jacks_beacon_key", "beacon_key", unique=True),
)

#: Every acceptance ever stored. ``seq`` tells other processes that there is a new one.
pairings = Table(
    "pairings",
    metadata,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
    Column("jack_id", ForeignKey("jacks.id"), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("phone_id", ForeignKey("phones.id"), nullable=False),
    Column("digest", Text, nullable=False, unique=True),
    Column("compact", Text, nullable=False),
    Column("paired_ms", BigInteger, nullable=False),
    UniqueConstraint("jack_id", "epoch"),
    Index("ix_pairings_phone", "phone_id"),
    sqlite_autoincrement=True,
)

#: Further phones of a jack, in the pairing of ``epoch``. ``id``: the ``jti`` of the jack's word for
#: it. A phone that joins again has another row.
memberships = Table(
    "memberships",
    metadata,
    Column("id", Text, primary_key=True),
    Column("jack_id", ForeignKey("jacks.id"), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("phone_id", ForeignKey("phones.id"), nullable=False),
    Column("digest", Text, nullable=False, unique=True),
    Column("compact", Text, nullable=False),
    Column("joined_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger),
    Index("ix_memberships_phone", "phone_id"),
)
_MEMBER = memberships.c.ended_ms.is_(None)
Index(
    "uq_memberships_lasting",
    memberships.c.jack_id,
    memberships.c.phone_id,
    unique=True,
    sqlite_where=_MEMBER,
    postgresql_where=_MEMBER,
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

#: ``id`` is the ``jti`` of the statement that registered it, ``token`` what the processor charges
#: it by. ``chosen_ms``: when its owner made it the default, the last time.
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
    Column("chosen_ms", BigInteger),
    Column("removed_ms", BigInteger),
)

#: A method that was coupled to a jack, in the pairing of ``epoch``. ``id``: its challenge's.
couplings = Table(
    "couplings",
    metadata,
    Column("id", Text, primary_key=True),
    Column("instruction_id", ForeignKey("instructions.id"), nullable=False),
    Column("method_id", ForeignKey("payment_methods.id"), nullable=False),
    Column("jack_id", ForeignKey("jacks.id"), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("coupled_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger),
    Index("ix_couplings_method", "method_id"),
)
_LASTING = couplings.c.ended_ms.is_(None)
Index(
    "uq_couplings_lasting",
    couplings.c.jack_id,
    couplings.c.method_id,
    unique=True,
    sqlite_where=_LASTING,
    postgresql_where=_LASTING,
)

#: What phones have signed about their methods and jacks; ``id`` is its ``jti``.
instructions = Table(
    "instructions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("typ", Text, nullable=False),
    Column("phone_id", ForeignKey("phones.id"), nullable=False),
    Column("subject", Text, nullable=False, index=True),
    Column("digest", Text, nullable=False),
    Column("compact", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Index("ix_instructions_phone", "phone_id"),
)

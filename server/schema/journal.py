"""Tables of the journal, which are only ever added to (``server.journal``)."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Table, Text

from server.schema.columns import SEQUENCE, metadata

#: ``seq`` counts from 1 without gaps. ``statement_seq`` names a row of ``statements`` and is no
#: foreign key: its check would lock rows and read an index that payments write.
journal = Table(
    "journal",
    metadata,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=False),
    Column("statement_seq", BigInteger, nullable=False, unique=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("link", Text, nullable=False),
    CheckConstraint("seq >= 1", name="seq_counts"),
    Index("ix_journal_at", "at_ms"),
)

#: What the server has signed of its journal from time to time. ``seq``: the last entry's.
journal_checkpoints = Table(
    "journal_checkpoints",
    metadata,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=False),
    Column("compact", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

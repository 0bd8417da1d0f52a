"""The journal over all payments, and a number for every statement by which it follows them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def _sequence() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _number_statements()
    op.create_table(
        "journal",
        sa.Column("seq", _sequence(), autoincrement=False, nullable=False),
        sa.Column("statement_seq", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("link", sa.Text(), nullable=False),
        sa.CheckConstraint("seq >= 1", name=op.f("ck_journal_seq_counts")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_journal")),
        sa.UniqueConstraint("statement_seq", name=op.f("uq_journal_statement_seq")),
    )
    op.create_index("ix_journal_at", "journal", ["at_ms"])
    op.create_table(
        "journal_checkpoints",
        sa.Column("seq", _sequence(), autoincrement=False, nullable=False),
        sa.Column("compact", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_journal_checkpoints")),
    )


def _number_statements() -> None:
    """Statements of before in the order of their payments, and each payment's in its own."""
    op.execute("CREATE TEMPORARY TABLE statements_before AS SELECT * FROM statements")
    op.drop_table("statements")
    op.create_table(
        "statements",
        sa.Column("seq", _sequence(), autoincrement=True, nullable=False),
        sa.Column("payment_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("typ", sa.Text(), nullable=False),
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("jti", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("compact", sa.Text(), nullable=False),
        sa.CheckConstraint("position >= 1", name=op.f("ck_statements_position_counts")),
        sa.ForeignKeyConstraint(
            ["payment_id"], ["payments.id"], name=op.f("fk_statements_payment_id_payments")
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_statements")),
        sa.UniqueConstraint(
            "payment_id", "position", name=op.f("uq_statements_payment_id_position")
        ),
        sa.UniqueConstraint("digest", name=op.f("uq_statements_digest")),
        sa.UniqueConstraint("jti", name=op.f("uq_statements_jti")),
    )
    op.execute(
        "INSERT INTO statements (payment_id, position, typ, kid, jti, digest, compact)"
        " SELECT payment_id, position, typ, kid, jti, digest, compact FROM statements_before"
        " ORDER BY (SELECT created_ms FROM payments WHERE payments.id = payment_id),"
        " payment_id, position"
    )
    op.execute("DROP TABLE statements_before")

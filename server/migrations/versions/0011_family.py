"""Several phones of one jack: its members, and whom a payment has asked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("payments", sa.Column("asked", sa.Text(), nullable=True))
    op.create_table(
        "memberships",
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("id", "jack_id", "phone_id", "digest", "compact")
        ),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("joined_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        *(
            sa.ForeignKeyConstraint(
                [f"{party}_id"], [f"{party}s.id"], name=op.f(f"fk_memberships_{party}_id_{party}s")
            )
            for party in ("jack", "phone")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_memberships")),
        sa.UniqueConstraint("digest", name=op.f("uq_memberships_digest")),
    )
    op.create_index("ix_memberships_phone", "memberships", ["phone_id"])
    op.create_index(
        "uq_memberships_lasting",
        "memberships",
        ["jack_id", "phone_id"],
        unique=True,
        sqlite_where=sa.text("ended_ms IS NULL"),
        postgresql_where=sa.text("ended_ms IS NULL"),
    )
    op.create_table(
        "challenges",
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("payment_id", "phone_id", "compact")
        ),
        sa.Column("withdrawn_ms", sa.BigInteger(), nullable=True),
        *(
            sa.ForeignKeyConstraint(
                [f"{table}_id"], [f"{table}s.id"], name=op.f(f"fk_challenges_{table}_id_{table}s")
            )
            for table in ("payment", "phone")
        ),
        sa.PrimaryKeyConstraint("payment_id", "phone_id", name=op.f("pk_challenges")),
    )

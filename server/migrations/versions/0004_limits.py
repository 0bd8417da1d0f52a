"""What the limits count: prompts that nobody approved, and refusals that leave no other row."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_UNAPPROVED = "status IN ('pending', 'declined', 'expired', 'canceled')"


def upgrade() -> None:
    for party in ("jack", "terminal"):
        op.create_index(
            f"ix_payments_{party}_unapproved",
            "payments",
            [f"{party}_id", "created_ms", "id"],
            sqlite_where=sa.text(_UNAPPROVED),
            postgresql_where=sa.text(_UNAPPROVED),
        )
    op.create_table(
        "failures",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('code', 'confirmation', 'enrolment')", name=op.f("ck_failures_kind_known")
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_failures")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_failures_subject_at", "failures", ["kind", "subject", "at_ms"])
    op.create_index("ix_failures_at", "failures", ["at_ms"])

"""Methods that are chosen and removed, jacks that are let go, and what their owners signed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("payment_methods", sa.Column("chosen_ms", sa.BigInteger(), nullable=True))
    op.add_column("payment_methods", sa.Column("removed_ms", sa.BigInteger(), nullable=True))
    op.add_column("jacks", sa.Column("released_ms", sa.BigInteger(), nullable=True))
    op.create_index("ix_jacks_phone", "jacks", ["phone_id"])
    op.create_table(
        "instructions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("typ", sa.Text(), nullable=False),
        sa.Column("phone_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("compact", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["phone_id"], ["phones.id"], name=op.f("fk_instructions_phone_id_phones")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instructions")),
    )
    op.create_index("ix_instructions_subject", "instructions", ["subject"])

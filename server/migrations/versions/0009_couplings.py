"""Payment methods that are coupled to jacks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    names = {"instruction_id": "instructions", "method_id": "payment_methods", "jack_id": "jacks"}
    op.create_table(
        "couplings",
        sa.Column("id", sa.Text(), nullable=False),
        *(sa.Column(column, sa.Text(), nullable=False) for column in names),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("coupled_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        *(
            sa.ForeignKeyConstraint(
                [column], [f"{table}.id"], name=op.f(f"fk_couplings_{column}_{table}")
            )
            for column, table in names.items()
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_couplings")),
    )
    op.create_index(
        "uq_couplings_lasting",
        "couplings",
        ["jack_id", "method_id"],
        unique=True,
        sqlite_where=sa.text("ended_ms IS NULL"),
        postgresql_where=sa.text("ended_ms IS NULL"),
    )

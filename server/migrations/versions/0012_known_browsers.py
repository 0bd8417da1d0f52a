"""Browsers in which an admin has logged in: a stranger's wrong passwords do not count for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "admin_browsers",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("admin", sa.Text(), nullable=False),
        sa.Column("known_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["admin"], ["admins.name"], name=op.f("fk_admin_browsers_admin_admins")
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_admin_browsers")),
    )
    op.create_index("ix_admin_browsers_admin", "admin_browsers", ["admin"])

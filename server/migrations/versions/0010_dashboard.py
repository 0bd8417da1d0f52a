"""The dashboard: its admins, their sessions, what they did, and how often a login failed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _login_failures()
    op.create_table(
        "admins",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("totp_secret", sa.Text(), nullable=False),
        sa.Column("totp_step", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_admins")),
    )
    op.create_table(
        "admin_sessions",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("admin", sa.Text(), nullable=False),
        sa.Column("opened_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["admin"], ["admins.name"], name=op.f("fk_admin_sessions_admin_admins")
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_admin_sessions")),
    )
    op.create_index("ix_admin_sessions_admin", "admin_sessions", ["admin"])
    op.create_table(
        "admin_actions",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("admin", "action", "subject", "detail")
        ),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_admin_actions")),
        sqlite_autoincrement=True,
    )


def _login_failures() -> None:
    """SQLite makes the table anew; the one check that it had is the one that changes."""
    with op.batch_alter_table("failures", table_kwargs={"sqlite_autoincrement": True}) as failures:
        if op.get_bind().dialect.name == "postgresql":
            failures.drop_constraint(op.f("ck_failures_kind_known"), type_="check")
        failures.create_check_constraint(
            op.f("ck_failures_kind_known"),
            "kind IN ('code', 'confirmation', 'enrolment', 'login')",
        )

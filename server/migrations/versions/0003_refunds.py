"""Refunds, and looking payments up by reference and by whether they are active."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ACTIVE = "status IN ('pending', 'confirmed', 'unknown', 'authorized')"
_NOT_REFUSED = "operation != 'refund' AND (outcome IS NULL OR outcome = 'succeeded')"


def upgrade() -> None:
    _refunds()
    _outbox()
    _reasons()
    op.create_index(
        "ix_payments_terminal_reference",
        "payments",
        ["terminal_id", "reference", "created_ms", "id"],
    )
    op.create_index(
        "ix_payments_terminal_active",
        "payments",
        ["terminal_id", "created_ms", "id"],
        sqlite_where=sa.text(_ACTIVE),
        postgresql_where=sa.text(_ACTIVE),
    )


def _reasons() -> None:
    """Who released the holds of before: a terminal signed that it did, or their time was over."""
    op.execute(
        "UPDATE payments SET reason = CASE WHEN EXISTS (SELECT 1 FROM statements"
        " WHERE statements.payment_id = payments.id AND statements.typ = 'cancel+jwt')"
        " THEN 'canceled_by_terminal' ELSE 'hold_expired' END"
        " WHERE status = 'voided' AND reason IS NULL"
    )


def _refunds() -> None:
    op.create_table(
        "refunds",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("processor_reference", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("receipt", sa.Text(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("settled_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "status IN ('pending', 'unknown', 'succeeded', 'refused')",
            name=op.f("ck_refunds_status_known"),
        ),
        sa.CheckConstraint(
            "requested_by IN ('terminal', 'operator')", name=op.f("ck_refunds_requested_by_known")
        ),
        sa.CheckConstraint(
            "amount_minor BETWEEN 1 AND 1000000000000", name=op.f("ck_refunds_amount_bounded")
        ),
        sa.CheckConstraint(
            "(status = 'succeeded') = (receipt IS NOT NULL)",
            name=op.f("ck_refunds_receipt_of_success"),
        ),
        sa.ForeignKeyConstraint(
            ["payment_id"], ["payments.id"], name=op.f("fk_refunds_payment_id_payments")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refunds")),
    )
    op.create_index("ix_refunds_payment_id", "refunds", ["payment_id"])
    op.create_index(
        "uq_refunds_reference",
        "refunds",
        ["payment_id", "reference"],
        unique=True,
        sqlite_where=sa.text("status != 'refused'"),
        postgresql_where=sa.text("status != 'refused'"),
    )


def _outbox() -> None:
    """SQLite makes the table anew, and would forget the checks that it is not told of."""
    checks = tuple(
        sa.CheckConstraint(sa.text(check["sqltext"]), name=op.f(str(check["name"])))
        for check in sa.inspect(op.get_bind()).get_check_constraints("outbox")
    )
    with op.batch_alter_table(
        "outbox", reflect_args=checks, table_kwargs={"sqlite_autoincrement": True}
    ) as outbox:
        outbox.drop_index("uq_outbox_not_refused")
        outbox.drop_constraint(op.f("ck_outbox_operation_known"), type_="check")
        outbox.add_column(sa.Column("refund_id", sa.Text(), nullable=True))
        outbox.create_check_constraint(
            op.f("ck_outbox_operation_known"),
            "operation IN ('charge', 'capture', 'void', 'refund')",
        )
        outbox.create_check_constraint(
            op.f("ck_outbox_refund_named"), "(operation = 'refund') = (refund_id IS NOT NULL)"
        )
        outbox.create_foreign_key(
            op.f("fk_outbox_refund_id_refunds"), "refunds", ["refund_id"], ["id"]
        )
        outbox.create_unique_constraint(op.f("uq_outbox_refund_id"), ["refund_id"])
        outbox.create_index(
            "uq_outbox_not_refused",
            ["payment_id", "operation"],
            unique=True,
            sqlite_where=sa.text(_NOT_REFUSED),
            postgresql_where=sa.text(_NOT_REFUSED),
        )

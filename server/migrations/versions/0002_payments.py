"""What they do: payments, their statements and history, the outbox, events of phones."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_STATUSES = (
    "('pending', 'confirmed', 'authorized', 'captured', 'unknown', "
    "'declined', 'expired', 'canceled', 'refused', 'voided')"
)
_EVENTS = (
    "('confirm', 'decline', 'expire', 'cancel', 'authorize', 'capture', 'refuse', 'lose', 'void')"
)


def upgrade() -> None:
    _payments()
    _outbox()
    _payment_events()
    _phone_events()
    _statements()


def _payments() -> None:
    op.create_table("payments", *_payment_columns(), *_payment_constraints())
    with op.batch_alter_table("payments", schema=None) as batch_op:
        batch_op.create_index(
            "ix_payments_hold_expires",
            ["hold_expires_ms"],
            unique=False,
            sqlite_where=sa.text("status = 'authorized'"),
            postgresql_where=sa.text("status = 'authorized'"),
        )
        batch_op.create_index(
            "ix_payments_phone_created", ["phone_id", "created_ms", "id"], unique=False
        )
        batch_op.create_index(
            "ix_payments_terminal_created", ["terminal_id", "created_ms", "id"], unique=False
        )
        batch_op.create_index(
            "uq_payments_pending_jack",
            ["jack_id"],
            unique=True,
            sqlite_where=sa.text("status = 'pending'"),
            postgresql_where=sa.text("status = 'pending'"),
        )
        batch_op.create_index(
            "uq_payments_pending_terminal",
            ["terminal_id"],
            unique=True,
            sqlite_where=sa.text("status = 'pending'"),
            postgresql_where=sa.text("status = 'pending'"),
        )


def _payment_columns() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("capture", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("authorized_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("captured_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("refunded_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("merchant_name", sa.Text(), nullable=False),
        sa.Column("presence", sa.Text(), nullable=False),
        sa.Column("terminal_id", sa.Text(), nullable=False),
        sa.Column("jack_id", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("phone_id", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("lane_digest", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("match_code", sa.Text(), nullable=False),
        sa.Column("payment_method_id", sa.Text(), nullable=True),
        sa.Column("processor_reference", sa.Text(), nullable=True),
        sa.Column("operation", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("receipt", sa.Text(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_s", sa.BigInteger(), nullable=False),
        sa.Column("settled_ms", sa.BigInteger(), nullable=True),
        sa.Column("hold_expires_ms", sa.BigInteger(), nullable=True),
    )


def _payment_constraints() -> tuple[sa.Constraint, ...]:
    return (
        sa.CheckConstraint(
            "capture IN ('automatic', 'manual')", name=op.f("ck_payments_capture_known")
        ),
        sa.CheckConstraint(
            "operation IN ('capture', 'void')", name=op.f("ck_payments_operation_known")
        ),
        sa.CheckConstraint(
            "operation IS NULL OR status = 'authorized'", name=op.f("ck_payments_operation_of_hold")
        ),
        sa.CheckConstraint(
            f"status IN {_STATUSES}",
            name=op.f("ck_payments_status_known"),
        ),
        sa.CheckConstraint(
            "amount_minor BETWEEN 1 AND 1000000000000", name=op.f("ck_payments_amount_bounded")
        ),
        sa.CheckConstraint(
            "authorized_minor BETWEEN 0 AND amount_minor",
            name=op.f("ck_payments_authorized_agreed"),
        ),
        sa.CheckConstraint(
            "captured_minor BETWEEN 0 AND authorized_minor",
            name=op.f("ck_payments_captured_authorized"),
        ),
        sa.CheckConstraint(
            "refunded_minor BETWEEN 0 AND captured_minor",
            name=op.f("ck_payments_refunded_captured"),
        ),
        sa.ForeignKeyConstraint(
            ["jack_id", "epoch"],
            ["pairings.jack_id", "pairings.epoch"],
            name=op.f("fk_payments_jack_id_epoch_pairings"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchants.id"], name=op.f("fk_payments_merchant_id_merchants")
        ),
        sa.ForeignKeyConstraint(
            ["payment_method_id"],
            ["payment_methods.id"],
            name=op.f("fk_payments_payment_method_id_payment_methods"),
        ),
        sa.ForeignKeyConstraint(
            ["phone_id"], ["phones.id"], name=op.f("fk_payments_phone_id_phones")
        ),
        sa.ForeignKeyConstraint(
            ["terminal_id"], ["terminals.id"], name=op.f("fk_payments_terminal_id_terminals")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payments")),
        sa.UniqueConstraint("lane_digest", name=op.f("uq_payments_lane_digest")),
    )


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("payment_id", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=True),
        sa.Column("next_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("done_ms", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("processor_reference", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(state = 'done') = (outcome IS NOT NULL)", name=op.f("ck_outbox_done_has_outcome")
        ),
        sa.CheckConstraint(
            "operation IN ('charge', 'capture', 'void')", name=op.f("ck_outbox_operation_known")
        ),
        sa.CheckConstraint(
            "outcome IN ('succeeded', 'refused')", name=op.f("ck_outbox_outcome_known")
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'calling', 'done', 'unknown')", name=op.f("ck_outbox_state_known")
        ),
        sa.CheckConstraint("amount_minor >= 0", name=op.f("ck_outbox_amount_not_negative")),
        sa.CheckConstraint("turn >= 1", name=op.f("ck_outbox_turn_counts")),
        sa.CheckConstraint("turn = 1 OR operation <> 'charge'", name=op.f("ck_outbox_charge_once")),
        sa.ForeignKeyConstraint(
            ["payment_id"], ["payments.id"], name=op.f("fk_outbox_payment_id_payments")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_outbox_idempotency_key")),
        sa.UniqueConstraint(
            "payment_id", "operation", "turn", name=op.f("uq_outbox_payment_id_operation_turn")
        ),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.create_index(
            "ix_outbox_open",
            ["next_at_ms"],
            unique=False,
            sqlite_where=sa.text("state != 'done'"),
            postgresql_where=sa.text("state != 'done'"),
        )
        batch_op.create_index(
            "uq_outbox_not_refused",
            ["payment_id", "operation"],
            unique=True,
            sqlite_where=sa.text("outcome IS NULL OR outcome = 'succeeded'"),
            postgresql_where=sa.text("outcome IS NULL OR outcome = 'succeeded'"),
        )


def _payment_events() -> None:
    op.create_table(
        "payment_events",
        sa.Column("payment_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("from_status", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("to_status", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            f"event IN {_EVENTS}",
            name=op.f("ck_payment_events_event_known"),
        ),
        sa.CheckConstraint(
            f"from_status IN {_STATUSES}",
            name=op.f("ck_payment_events_from_status_known"),
        ),
        sa.CheckConstraint(
            f"to_status IN {_STATUSES}",
            name=op.f("ck_payment_events_to_status_known"),
        ),
        sa.ForeignKeyConstraint(
            ["payment_id"], ["payments.id"], name=op.f("fk_payment_events_payment_id_payments")
        ),
        sa.PrimaryKeyConstraint("payment_id", "seq", name=op.f("pk_payment_events")),
    )


def _phone_events() -> None:
    op.create_table(
        "phone_events",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("phone_id", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('challenge', 'payment')", name=op.f("ck_phone_events_kind_known")
        ),
        sa.ForeignKeyConstraint(
            ["payment_id"], ["payments.id"], name=op.f("fk_phone_events_payment_id_payments")
        ),
        sa.ForeignKeyConstraint(
            ["phone_id"], ["phones.id"], name=op.f("fk_phone_events_phone_id_phones")
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_phone_events")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("phone_events", schema=None) as batch_op:
        batch_op.create_index("ix_phone_events_phone_seq", ["phone_id", "seq"], unique=False)


def _statements() -> None:
    op.create_table(
        "statements",
        sa.Column("payment_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("typ", sa.Text(), nullable=False),
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("jti", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("compact", sa.Text(), nullable=False),
        sa.CheckConstraint("position >= 1", name=op.f("ck_statements_position_counts")),
        sa.ForeignKeyConstraint(
            ["payment_id"], ["payments.id"], name=op.f("fk_statements_payment_id_payments")
        ),
        sa.PrimaryKeyConstraint("payment_id", "position", name=op.f("pk_statements")),
        sa.UniqueConstraint("digest", name=op.f("uq_statements_digest")),
        sa.UniqueConstraint("jti", name=op.f("uq_statements_jti")),
    )

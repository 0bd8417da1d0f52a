"""What a person must decide of the outbox, and what the processor tells unasked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_DECIDED_WHOLE = (
    "(decision IS NULL) = (decided_ms IS NULL)"
    " AND (decision IS NULL) = (decided_by IS NULL) AND (decision IS NULL) = (why IS NULL)"
)
_DECISIONS = "decision IN ('carried_out', 'not_carried_out', 'look_again', 'noted')"
_REFERENCE_OF_SUCCESS = "processor_reference IS NULL OR decision = 'carried_out'"


def upgrade() -> None:
    _reviews()
    op.create_table(
        "processor_events",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.Text(), nullable=True),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_processor_events")),
    )
    op.create_index("ix_processor_events_payment", "processor_events", ["payment_id"])
    op.create_index("ix_processor_events_received", "processor_events", ["received_ms"])


def _reviews() -> None:
    op.create_table(
        "reviews",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column(
            "outbox_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("opened_ms", sa.BigInteger(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=True),
        sa.Column("processor_reference", sa.Text(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("decided_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(_DECISIONS, name=op.f("ck_reviews_decision_known")),
        sa.CheckConstraint(_DECIDED_WHOLE, name=op.f("ck_reviews_decided_whole")),
        sa.CheckConstraint(_REFERENCE_OF_SUCCESS, name=op.f("ck_reviews_reference_of_success")),
        sa.ForeignKeyConstraint(
            ["outbox_id"], ["outbox.id"], name=op.f("fk_reviews_outbox_id_outbox")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reviews")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "uq_reviews_open",
        "reviews",
        ["outbox_id"],
        unique=True,
        sqlite_where=sa.text("decision IS NULL"),
        postgresql_where=sa.text("decision IS NULL"),
    )
    op.create_index("ix_reviews_outbox", "reviews", ["outbox_id"])
    op.execute(
        "INSERT INTO reviews (outbox_id, cause, opened_ms) SELECT id,"
        " 'see the log of that time', next_at_ms FROM outbox"
        " WHERE state = 'unknown' AND reason = 'needs_review' ORDER BY id"
    )

"""Who takes part: merchants, devices, pairings, enrolment codes, payment methods."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _merchants()
    _phones()
    _enrolment_codes()
    _jacks()
    _payment_methods()
    _terminals()
    _pairings()


def _merchants() -> None:
    op.create_table(
        "merchants",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("presence", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "presence IN ('require', 'prefer')", name=op.f("ck_merchants_presence_known")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_merchants")),
        sa.UniqueConstraint("name", name=op.f("uq_merchants_name")),
    )


def _phones() -> None:
    op.create_table(
        "phones",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("enrolled_ms", sa.BigInteger(), nullable=False),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_phones")),
    )


def _enrolment_codes() -> None:
    op.create_table(
        "enrolment_codes",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("merchant_id", sa.Text(), nullable=True),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), nullable=True),
        sa.Column("used_by", sa.Text(), nullable=True),
        sa.Column("used_digest", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(role = 'terminal') = (merchant_id IS NOT NULL)",
            name=op.f("ck_enrolment_codes_terminal_merchant"),
        ),
        sa.CheckConstraint(
            "role IN ('phone', 'terminal')", name=op.f("ck_enrolment_codes_role_enrols")
        ),
        sa.CheckConstraint(
            "(used_ms IS NULL) = (used_digest IS NULL)", name=op.f("ck_enrolment_codes_used_whole")
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchants.id"], name=op.f("fk_enrolment_codes_merchant_id_merchants")
        ),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_enrolment_codes")),
        sa.UniqueConstraint("used_digest", name=op.f("uq_enrolment_codes_used_digest")),
    )


def _jacks() -> None:
    op.create_table(
        "jacks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("beacon_key", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("phone_id", sa.Text(), nullable=False),
        sa.Column("last_counter", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("paired_ms", sa.BigInteger(), nullable=False),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("epoch >= 1", name=op.f("ck_jacks_epoch_positive")),
        sa.CheckConstraint("last_counter >= 0", name=op.f("ck_jacks_last_counter_counts")),
        sa.ForeignKeyConstraint(["phone_id"], ["phones.id"], name=op.f("fk_jacks_phone_id_phones")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jacks")),
    )


def _payment_methods() -> None:
    op.create_table(
        "payment_methods",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("phone_id", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("compact", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["phone_id"], ["phones.id"], name=op.f("fk_payment_methods_phone_id_phones")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_methods")),
        sa.UniqueConstraint("digest", name=op.f("uq_payment_methods_digest")),
    )
    with op.batch_alter_table("payment_methods", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_payment_methods_phone_id"), ["phone_id"], unique=False)


def _terminals() -> None:
    op.create_table(
        "terminals",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("enrolled_ms", sa.BigInteger(), nullable=False),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchants.id"], name=op.f("fk_terminals_merchant_id_merchants")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_terminals")),
    )


def _pairings() -> None:
    op.create_table(
        "pairings",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("jack_id", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("phone_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("compact", sa.Text(), nullable=False),
        sa.Column("paired_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["jack_id"], ["jacks.id"], name=op.f("fk_pairings_jack_id_jacks")),
        sa.ForeignKeyConstraint(
            ["phone_id"], ["phones.id"], name=op.f("fk_pairings_phone_id_phones")
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_pairings")),
        sa.UniqueConstraint("digest", name=op.f("uq_pairings_digest")),
        sa.UniqueConstraint("jack_id", "epoch", name=op.f("uq_pairings_jack_id_epoch")),
        sqlite_autoincrement=True,
    )

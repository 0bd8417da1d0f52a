"""What a phone paired, coupled and signed is found without looking through everybody's."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_couplings_method", "couplings", ["method_id"])
    op.create_index("ix_pairings_phone", "pairings", ["phone_id"])
    op.create_index("ix_instructions_phone", "instructions", ["phone_id"])

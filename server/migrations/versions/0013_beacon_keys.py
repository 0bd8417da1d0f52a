"""A jack's beacon key is its alone, and found at once among those of a million jacks."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("uq_jacks_beacon_key", "jacks", ["beacon_key"], unique=True)

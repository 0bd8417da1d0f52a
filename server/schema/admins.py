"""Tables of the dashboard: who may log in, who is logged in, and what was changed there."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Table, Text

from server.schema.columns import SEQUENCE, metadata

#: ``password``: Argon2id in its own notation. ``totp_secret``: base32, as it is: every code is
#: computed from it. ``totp_step``: of the last code that was used (RFC 6238), none of it or before.
admins = Table(
    "admins",
    metadata,
    Column("name", Text, primary_key=True),
    Column("password", Text, nullable=False),
    Column("totp_secret", Text, nullable=False),
    Column("totp_step", BigInteger, nullable=False, server_default="0"),
    Column("created_ms", BigInteger, nullable=False),
)

#: ``digest``: SHA-256 of what the cookie carries, hex. ``seen_ms``: when it was last used.
admin_sessions = Table(
    "admin_sessions",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("admin", ForeignKey("admins.name"), nullable=False),
    Column("opened_ms", BigInteger, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
    Index("ix_admin_sessions_admin", "admin"),
)

#: Where an admin has logged in. ``digest``: SHA-256 of what the cookie carries, hex. ``known_ms``:
#: when that was last.
admin_browsers = Table(
    "admin_browsers",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("admin", ForeignKey("admins.name"), nullable=False),
    Column("known_ms", BigInteger, nullable=False),
    Index("ix_admin_browsers_admin", "admin"),
)

#: What changed anything, and who came in. Kept when the admin is not.
admin_actions = Table(
    "admin_actions",
    metadata,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
    Column("admin", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

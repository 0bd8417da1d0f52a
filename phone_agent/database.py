"""The phone's one SQLite file (``twochannel.database``): its tables, and values by name."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final, Self

from twochannel import database

FILE_NAME: Final = "wallet.sqlite3"
SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE jacks (
  jack TEXT PRIMARY KEY, key TEXT NOT NULL, certificate BLOB NOT NULL, link_key BLOB NOT NULL,
  epoch INTEGER NOT NULL, acceptance TEXT NOT NULL, registered INTEGER NOT NULL,
  host TEXT NOT NULL, port INTEGER NOT NULL
) STRICT;
CREATE TABLE limits (
  merchant TEXT NOT NULL, currency TEXT NOT NULL, limit_minor INTEGER NOT NULL,
  PRIMARY KEY (merchant, currency)
) STRICT;
CREATE TABLE methods (
  id TEXT PRIMARY KEY, label TEXT NOT NULL, statement TEXT NOT NULL, registered INTEGER NOT NULL,
  place INTEGER NOT NULL
) STRICT;
CREATE TABLE payments (
  id TEXT PRIMARY KEY, jack TEXT NOT NULL, challenge TEXT NOT NULL, received_ms INTEGER NOT NULL,
  decision TEXT, decided_by TEXT, reason TEXT, confirmation TEXT, closed TEXT, shown TEXT NOT NULL
) STRICT;
CREATE INDEX payments_open ON payments (received_ms) WHERE closed IS NULL
"""


class Database(database.Database):
    """An open file. It holds link keys."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file, or make it. Raises DatabaseError."""
        return cls(path, _SCHEMA, SCHEMA_VERSION)

    def fact(self, name: str) -> str | None:
        """One named value, or None."""
        rows = self.rows("SELECT value FROM facts WHERE name = ?", name)
        return str(rows[0][0]) if rows else None


def put_fact(db: sqlite3.Connection, name: str, value: str) -> None:
    """One named value, inside the caller's transaction."""
    db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

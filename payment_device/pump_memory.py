"""Fuellings on disk (SQLite): what was pumped is here before anybody is shown it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from payment_device.fuel import ACTIVE, Fuelling, Kind, Phase, Price
from twochannel.database import Database

FILE_NAME: Final = "fuellings.sqlite3"
SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE fuellings (
  id TEXT PRIMARY KEY, reference TEXT NOT NULL UNIQUE, phase TEXT NOT NULL, content TEXT NOT NULL
) STRICT;
CREATE INDEX fuellings_by_phase ON fuellings (phase)
"""
_CONTENT: Final = "SELECT content FROM fuellings"


class PumpMemory:
    """``on_change`` is called after every change."""

    def __init__(self, path: Path, on_change: Callable[[], None] = lambda: None) -> None:
        """Open the file, or make it. Raises DatabaseError."""
        self._database = Database(path, _SCHEMA, SCHEMA_VERSION)
        self._on_change = on_change

    def close(self) -> None:
        self._database.close()

    def keep(self, fuelling: Fuelling) -> None:
        """As it is now. On disk when this returns."""
        content = json.dumps(asdict(fuelling) | {"price": str(fuelling.price)})
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO fuellings VALUES (?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET phase = excluded.phase,"
                " content = excluded.content",
                (fuelling.id, fuelling.reference, fuelling.phase.value, content),
            )
        self._on_change()

    def active(self) -> Fuelling | None:
        """The one that has the pump."""
        marks = ", ".join("?" * len(ACTIVE))
        rows = self._database.rows(
            f"{_CONTENT} WHERE phase IN ({marks}) ORDER BY id DESC LIMIT 1",
            *(phase.value for phase in ACTIVE),
        )
        return _fuelling(rows[0]) if rows else None

    def newest(self) -> Fuelling | None:
        rows = self._database.rows(f"{_CONTENT} ORDER BY id DESC LIMIT 1")
        return _fuelling(rows[0]) if rows else None

    def find_reference(self, reference: str) -> Fuelling | None:
        rows = self._database.rows(f"{_CONTENT} WHERE reference = ?", reference)
        return _fuelling(rows[0]) if rows else None


def _fuelling(row: tuple[Any, ...]) -> Fuelling:
    members = json.loads(row[0])
    read = {
        "kind": Kind(members["kind"]),
        "phase": Phase(members["phase"]),
        "price": Price.parse(members["price"]),
    }
    return Fuelling(**members | read)

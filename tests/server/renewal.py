"""The same rows again in one database, for test after test: a fresh PostgreSQL one takes longer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select

from server.schema.tables import metadata
from server.store import Store


@dataclass(frozen=True)
class Renewal:
    """What stood in every table of the database."""

    url: str
    rows: list[tuple[Table, list[dict[str, Any]]]]

    @classmethod
    def of(cls, url: str) -> Renewal:
        store = Store(url)
        rows = store.read_now(
            lambda c: [(table, _all(c, table)) for table in metadata.sorted_tables]
        )
        store.close_now()
        return cls(url, rows)

    def renew(self) -> None:
        """Nobody may be at the database."""
        store = Store(self.url)
        store.write_now(self._replace)
        store.close_now()

    def _replace(self, connection: Connection) -> None:
        for table, _ in reversed(self.rows):
            connection.execute(delete(table))
        for table, rows in self.rows:
            if rows:
                connection.execute(insert(table), rows)


def _all(connection: Connection, table: Table) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(select(table)).mappings()]

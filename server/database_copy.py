"""Copying a database to an empty one of another kind, without loss.

All of it is one transaction in the target: a copy that is cut off leaves an empty database. What
arrived is compared with what left, by number and by a digest over every row of each table, the
statements of all payments among them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, Final

from sqlalchemy import Connection, Table, func, insert, select
from sqlalchemy.exc import DataError, IntegrityError

from server.database import DatabaseError
from server.schema.tables import metadata
from server.store import Store

#: Rows of one insert.
_CHUNK: Final = 500

#: Told after each piece how many rows have gone.
Progress = Callable[[int], None]


def count_rows(store: Store) -> dict[str, int]:
    """How many rows each table has. Raises StoreError."""
    return store.read_now(_counts)


def copy_database(source: Store, target: Store, progress: Progress) -> dict[str, int]:
    """Copy every row; how many each table has. Both are of this version's schema.

    Nobody writes to the source meanwhile: the copy has its one writer. Raises DatabaseError,
    StoreError.
    """
    return source.write_now(
        lambda reading: target.write_now(lambda writing: _copy(reading, writing, progress))
    )


def _copy(reading: Connection, writing: Connection, progress: Progress) -> dict[str, int]:
    for connection in (reading, writing):
        _be_patient(connection)
    filled = [name for name, count in _counts(writing).items() if count]
    if filled:
        raise DatabaseError(
            f"the target is not empty: there are rows in {', '.join(filled)};"
            " name an empty database"
        )
    for table in metadata.sorted_tables:
        for rows in _chunks(reading, table):
            _add(writing, table, rows)
            progress(len(rows))
        _set_sequence(writing, table)
    _compare(reading, writing)
    return _counts(writing)


def _add(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    try:
        connection.execute(insert(table), rows)
    except (DataError, IntegrityError) as error:
        why = str(error.orig).partition("\n")[0]
        raise DatabaseError(
            f"a row of {table.name} does not fit into the target ({why}); run audit on the source"
        ) from None


def _be_patient(connection: Connection) -> None:
    """A copy may take longer than what a server on PostgreSQL grants a transaction."""
    if connection.dialect.name == "postgresql":
        for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
            connection.exec_driver_sql(f"SET LOCAL {name} = 0")


def _counts(connection: Connection) -> dict[str, int]:
    return {
        table.name: connection.scalar(select(func.count()).select_from(table)) or 0
        for table in metadata.sorted_tables
    }


def _chunks(connection: Connection, table: Table) -> Iterator[list[dict[str, Any]]]:
    rows = connection.execute(select(table).order_by(*table.primary_key.columns)).mappings()
    for rows_of_chunk in rows.partitions(_CHUNK):
        yield [dict(row) for row in rows_of_chunk]


def _set_sequence(connection: Connection, table: Table) -> None:
    """The next number is above every one that was ever given out and is still there.

    SQLite does so by itself.
    """
    column = table.autoincrement_column
    if column is None or connection.dialect.name != "postgresql":
        return
    last = connection.scalar(select(func.max(column)))
    if last is not None:
        sequence = func.pg_get_serial_sequence(table.name, column.name)
        connection.execute(select(func.setval(sequence, last)))


def _compare(reading: Connection, writing: Connection) -> None:
    """Both hold the same rows and the same chains. Raises DatabaseError."""
    for table in metadata.sorted_tables:
        left, arrived = _digest(reading, table), _digest(writing, table)
        if left != arrived:
            raise DatabaseError(f"the rows of {table.name} did not arrive as they left; try again")


def _digest(connection: Connection, table: Table) -> tuple[int, int]:
    """How many rows, and the sum of their SHA-256: the kinds do not agree on an order of texts.

    No two rows are the same, for each table has a key.
    """
    count, total = 0, 0
    for row in connection.execute(select(table).execution_options(yield_per=_CHUNK)):
        count += 1
        total += int.from_bytes(hashlib.sha256(repr(tuple(row)).encode()).digest(), "big")
    return count, total

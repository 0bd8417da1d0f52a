"""Statements of SQL that every payment needs: built and compiled once, then given to the driver.

SQLAlchemy builds them, knows the dialects, and keeps connection and transaction. Only to execute
one it takes five times as long as SQLite does, and a payment executes some forty: so a
``Prepared`` hands the compiled text straight to the driver's cursor. What is asked for once in a
while has no need of it.

Columns are integers and text (``server.schema``), which both drivers take and give as they are.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Dialect, Integer, Text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import Executable

#: A row: its columns by name, as attributes, and by place.
AnyRow = Any
Values = Mapping[str, object]

_NOTHING: Final[Values] = {}
_PLAIN: Final = (Integer, BigInteger, Text)


@dataclass(frozen=True, slots=True)
class _Text:
    """One compiled text. ``names``: of its parameters in order; None: the driver takes names."""

    sql: str
    names: Sequence[str] | None
    constants: Values
    row: Callable[[Sequence[Any]], AnyRow] | None

    def arguments(self, values: Values) -> Values | Sequence[object]:
        if self.names is None:
            return {**self.constants, **values}
        constants = self.constants
        return [values[name] if name in values else constants[name] for name in self.names]


class Prepared:
    """One statement. Methods are named as those of SQLAlchemy's results, and mean the same."""

    def __init__(self, statement: Executable) -> None:
        """Its parameters are ``bindparam``; of an insert or update, also columns by name."""
        self._statement: Any = statement
        self._texts: dict[tuple[str, frozenset[str]], _Text] = {}

    def all(self, connection: Connection, values: Values = _NOTHING) -> list[AnyRow]:
        text, cursor = self._execute(connection, values)
        rows = cursor.fetchall()
        return list(map(text.row, rows)) if text.row else rows

    def first(self, connection: Connection, values: Values = _NOTHING) -> AnyRow | None:
        return next(iter(self.all(connection, values)), None)

    def one(self, connection: Connection, values: Values = _NOTHING) -> AnyRow:
        """The only row. ValueError if there is none, or more."""
        (row,) = self.all(connection, values)
        return row

    def one_or_none(self, connection: Connection, values: Values = _NOTHING) -> AnyRow | None:
        """The only row, if there is one. ValueError if there are more."""
        rows = self.all(connection, values)
        if not rows:
            return None
        (row,) = rows
        return row

    def scalars(self, connection: Connection, values: Values = _NOTHING) -> list[Any]:
        """The first column."""
        _, cursor = self._execute(connection, values)
        return [row[0] for row in cursor.fetchall()]

    def scalar(self, connection: Connection, values: Values = _NOTHING) -> Any:
        """The first column of the first row; None if there is none."""
        return next(iter(self.scalars(connection, values)), None)

    def count(self, connection: Connection, values: Values = _NOTHING) -> int:
        """Execute what gives no rows; how many were changed. Raises IntegrityError."""
        _, cursor = self._execute(connection, values)
        changed: int = cursor.rowcount
        return changed

    def _execute(self, connection: Connection, values: Values) -> tuple[_Text, Any]:
        dialect = connection.dialect
        text = self._text(dialect, values)
        cursor = connection.connection.cursor()
        driver: Any = dialect.loaded_dbapi
        try:
            cursor.execute(text.sql, text.arguments(values))
        except driver.Error as error:
            gone = dialect.is_disconnect(error, connection.connection, cursor)
            if gone:
                # SQLAlchemy finds out too, and trusts no other connection of that time any more.
                with suppress(DBAPIError):
                    connection.exec_driver_sql("SELECT 1")
            # As SQLAlchemy would: its class for each of the driver's.
            raise DBAPIError.instance(
                text.sql, None, error, driver.Error, connection_invalidated=gone
            ) from error
        return text, cursor

    def _text(self, dialect: Dialect, values: Values) -> _Text:
        key = dialect.name, frozenset(values)
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = _compiled(self._statement, dialect, values)
        return text


def _compiled(statement: Any, dialect: Dialect, values: Values) -> _Text:
    """What SQLAlchemy makes of it. TypeError for what only SQLAlchemy itself can execute."""
    compiled: SQLCompiler = statement.compile(dialect=dialect, column_keys=sorted(values))
    if "POSTCOMPILE" in compiled.string:
        raise TypeError(f"only SQLAlchemy can execute this: {compiled.string}")
    names = compiled.positiontup if compiled.positional else None
    constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
    return _Text(compiled.string, names, constants, _row_type(statement))


def _row_type(statement: Any) -> Callable[[Sequence[Any]], AnyRow] | None:
    columns = getattr(statement, "exported_columns", None) or ()
    for column in columns:
        if not isinstance(column.type, _PLAIN):
            raise TypeError(f"column {column}: {column.type!r} is not what a driver gives")
    names = [getattr(column, "name", "") for column in columns]
    # What has no name of its own, a sum say, is found by its place.
    return _make_row(names) if names else None


def _make_row(names: Sequence[str]) -> Callable[[Sequence[Any]], AnyRow]:
    row: Any = namedtuple("Row", names, rename=True)  # type: ignore[misc]
    make: Callable[[Sequence[Any]], AnyRow] = row._make
    return make

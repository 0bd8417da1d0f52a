"""A test's own SQL on either kind of database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, CursorResult


def execute(connection: Connection, sql: str, *parameters: object) -> CursorResult[Any]:
    """``sql`` with ``?`` for each of ``parameters``."""
    if connection.dialect.name != "sqlite":
        sql = sql.replace("?", "%s")
    return connection.exec_driver_sql(sql, parameters)

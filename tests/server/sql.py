"""A test's own SQL on either kind of database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, CursorResult


def execute(connection: Connection, sql: str, *parameters: object) -> CursorResult[Any]:
    """``sql`` with ``?`` for each of ``parameters``."""
    if connection.dialect.name != "sqlite":
        sql = sql.replace("?", "%s")
    return connection.exec_driver_sql(sql, parameters)


def plan_of(connection: Connection, look: Callable[[], object]) -> list[str]:
    """How SQLite goes about what ``look`` asks of it: the steps of its query plans."""
    asked: list[str] = []
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.set_trace_callback(asked.append)
    look()
    driver.set_trace_callback(None)
    return [row[3] for sql in asked for row in driver.execute(f"EXPLAIN QUERY PLAN {sql}")]

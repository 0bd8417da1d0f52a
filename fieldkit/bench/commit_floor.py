"""The commit floor: how long one durable SQLite transaction takes on this disk."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from fieldkit.bench.quantiles import Summary, summary

_NS_PER_MS: Final = 1_000_000
#: About what an agent stores of one statement.
_ROW: Final = "x" * 1000


def measure(folder: Path, repeats: int = 50) -> Summary:
    """Wall milliseconds of one row in one transaction: WAL, synchronous=FULL, as in every agent.

    The database is made in ``folder`` and removed again.
    """
    file = folder / "commit-floor.sqlite3"
    try:
        with closing(sqlite3.connect(file, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            database.execute("CREATE TABLE statements (compact TEXT)")
            return summary([_commit_ms(database) for _ in range(repeats)])
    finally:
        for leftover in folder.glob("commit-floor.sqlite3*"):
            leftover.unlink()


def _commit_ms(database: sqlite3.Connection) -> float:
    started_ns = time.perf_counter_ns()
    database.execute("BEGIN IMMEDIATE")
    database.execute("INSERT INTO statements VALUES (?)", (_ROW,))
    database.execute("COMMIT")
    return (time.perf_counter_ns() - started_ns) / _NS_PER_MS

"""An agent's own SQLite file: private, laid out once, changed in transactions only.

What must survive a power cut is on disk before anything leaves the agent: WAL, synchronous=FULL.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

#: Command line and running agent share the file; neither holds it for long.
_BUSY_TIMEOUT_S: Final = 5.0


class DatabaseError(Exception):
    """The file cannot be used. The text says what to do next."""


class Database:
    """An open file. Several processes may have it open, and any thread may use it."""

    def __init__(self, path: Path, schema: str, version: int) -> None:
        """Open the file, or make it with mode 0600 and ``schema``, which is ``version``.

        Raises DatabaseError.
        """
        self._lock = threading.Lock()
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise DatabaseError(f"cannot open {path}: {error}; check the state folder") from None
        try:
            self._prepare(schema, version)
        except (sqlite3.Error, DatabaseError) as error:
            self._connection.close()
            raise DatabaseError(f"{path} cannot be used: {error}") from None

    def _prepare(self, schema: str, version: int) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        with self.transaction() as db:
            (found,) = db.execute("PRAGMA user_version").fetchone()
            if found > version:
                raise DatabaseError(
                    f"a newer version wrote it ({found}); install that version again"
                )
            if found < version:
                for statement in schema.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {version}")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything in the block, on disk when the block ends; nothing of it if it raises.

        Transactions do not nest: inside the block use the connection that it gives.
        """
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # A commit that found the disk full has rolled back already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What a query finds now."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

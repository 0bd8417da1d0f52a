"""All that is SQLite's own: one writer with group commit, WAL, and what its disk may do to both.

Other processes (the command line) write through the same code and wait for the lock.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, RootTransaction, create_engine, event, make_url
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from server.transaction import Function, Gather, Outcome, StoreError

#: The writer waits this long for another process that holds the write lock.
BUSY_TIMEOUT_MS: Final = 5_000
#: Functions in one commit: bounds how long the first of them waits for the last.
MAX_BATCH: Final = 64


class SqliteDatabase:
    """``sqlite:///<path>``: whatever is queued shares one transaction and one fsync."""

    max_batch: int = MAX_BATCH
    shared: bool = False
    # A look-up in SQLite takes less time than a change of threads, and in WAL mode readers never
    # wait for the writer.
    readers: int = 0

    def __init__(self, url: str) -> None:
        shared = (f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}", "PRAGMA foreign_keys=ON")
        durable = ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL")
        self.engine = _engine(url, "BEGIN IMMEDIATE", (*shared, *durable))
        self._reader_engine = _engine(url, "BEGIN", (*shared, "PRAGMA query_only=ON"))
        self._writer: Connection | None = None
        self._reader: Connection | None = None
        # Whoever writes past the queue (``Store.write_now``) does so from a thread of its own.
        self._turn = threading.Lock()

    def write(self, gather: Gather) -> list[Outcome]:
        """Run functions in one transaction. Raises StoreError if it was not committed."""
        with self._turn:
            try:
                return self._write(gather)
            except SQLAlchemyError as error:
                self._drop_writer()
                raise StoreError(f"the database refused the transaction: {error}") from error
            except StoreError:
                self._drop_writer()
                raise

    def _write(self, gather: Gather) -> list[Outcome]:
        if self._writer is None:
            self._writer = self.engine.connect()
        with self._writer.begin() as transaction:
            functions = gather()
            if len(functions) == 1:
                return [_run_alone(self._writer, transaction, functions[0])]
            return [_run_one(self._writer, function) for function in functions]

    def read(self, function: Function) -> Any:
        try:
            if self._reader is None:
                self._reader = self._reader_engine.connect()
            with self._reader.begin():
                return function(self._reader)
        except OperationalError as error:
            raise _plain(error) from error

    def close(self) -> None:
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader_engine.dispose()
        self.engine.dispose()

    def _drop_writer(self) -> None:
        """Give the connection back to the pool, which rolls back what a failed COMMIT left."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


@contextmanager
def occupied(url: str, *, alone: bool) -> Iterator[bool]:
    """Whether the database was to be had, shared or alone; if so, it is while the block runs.

    The lock is on a file beside it: whoever closes the database's own file drops SQLite's locks on
    it. Raises OSError.
    """
    name = make_url(url).database
    if not name or name == ":memory:":
        yield True
        return
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    descriptor = os.open(f"{Path(name).resolve()}.lock", flags, 0o600)
    try:
        yield _lock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _run_alone(connection: Connection, transaction: RootTransaction, function: Function) -> Outcome:
    """A transaction of one function, which needs no savepoint. Raises SQLAlchemyError."""
    try:
        return Outcome(function(connection))
    except Exception as error:
        transaction.rollback()
        return Outcome(error=_plain(error))


def _run_one(connection: Connection, function: Function) -> Outcome:
    """One function of several in a transaction. Raises StoreError if that ended under it."""
    # Past SQLAlchemy, whose savepoints cost more than what most functions do inside them.
    driver = connection.connection.cursor()
    driver.execute("SAVEPOINT one")
    try:
        outcome = Outcome(function(connection))
    except Exception as error:
        outcome = Outcome(error=_plain(error))
    try:
        if outcome.error is not None:
            driver.execute("ROLLBACK TO one")
        driver.execute("RELEASE one")
    except sqlite3.OperationalError as error:
        # SQLite ends the whole transaction by itself when, say, the disk is full.
        raise StoreError(f"the database ended the transaction: {outcome.error}") from error
    return outcome


def _plain(error: Exception) -> Exception:
    """What the database could not do (disk full, file locked) is StoreError for everyone."""
    return StoreError(str(error.orig)) if isinstance(error, OperationalError) else error


def _engine(url: str, begin: str, pragmas: Sequence[str]) -> Engine:
    """An engine whose transactions start with ``begin`` instead of the driver's guesses."""
    engine = create_engine(url, connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _prepare(dbapi_connection: Any, _record: Any) -> None:
        dbapi_connection.isolation_level = None
        for pragma in pragmas:
            dbapi_connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        try:
            connection.connection.cursor().execute(begin)
        except sqlite3.OperationalError as error:
            raise OperationalError(begin, None, error) from error

    return engine

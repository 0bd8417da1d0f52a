"""The one place that opens and commits transactions.

A transaction is a plain function of a ``Connection``: it reads, decides through the pure modules,
writes, and returns a value. It must not keep the connection, wait, or talk to anyone.

``write`` runs functions one after another in a single thread with group commit: whatever is
queued when the writer is free shares one ``BEGIN IMMEDIATE`` and one ``COMMIT`` (one fsync), each
function inside a savepoint of its own if there are several. A function that raises is undone alone
and its caller gets the exception. Nobody gets an answer before the commit; if that fails, nothing
has happened and every caller of the batch gets StoreError. Other processes (the command line)
write through the same code and wait for the lock.

All that is SQLite's own is in ``_engines``: WAL, synchronous=FULL, foreign keys, busy time-out.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import OperationalError, SQLAlchemyError

T = TypeVar("T")

#: The writer waits this long for another process that holds the write lock.
BUSY_TIMEOUT_MS: Final = 5_000
#: Functions in one commit: bounds how long the first of them waits for the last.
MAX_BATCH: Final = 64


class StoreError(Exception):
    """The database did not take the transaction: nothing of it has happened."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What one function of a batch came to: a value, or the error that undid it."""

    value: Any = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class _Job:
    """One queued function, and the future of whoever waits for it."""

    function: Callable[[Connection], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop

    def answer(self, outcome: _Outcome) -> None:
        # A loop that has been closed took whoever waited with it.
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(_resolve, self.future, outcome)


def _resolve(future: asyncio.Future[Any], outcome: _Outcome) -> None:
    if future.done():
        return
    if outcome.error is not None:
        future.set_exception(outcome.error)
    else:
        future.set_result(outcome.value)


def _run_alone(connection: Connection, function: Callable[[Connection], Any]) -> _Outcome:
    """A transaction of one function, which needs no savepoint. Raises SQLAlchemyError."""
    with connection.begin() as transaction:
        try:
            return _Outcome(function(connection))
        except Exception as error:
            transaction.rollback()
            return _Outcome(error=_plain(error))


def _run_one(connection: Connection, function: Callable[[Connection], Any]) -> _Outcome:
    """One function of several in a transaction. Raises StoreError if that ended under it."""
    # Past SQLAlchemy, whose savepoints cost more than what most functions do inside them.
    driver = connection.connection.cursor()
    driver.execute("SAVEPOINT one")
    try:
        outcome = _Outcome(function(connection))
    except Exception as error:
        outcome = _Outcome(error=_plain(error))
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


def database_url(state: Path) -> str:
    """The default database: a file in the server's state folder."""
    return f"sqlite:///{state / 'server.sqlite3'}"


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


def _engines(url: str) -> tuple[Engine, Engine]:
    """A writing and a reading engine for ``url``. Only SQLite so far."""
    if make_url(url).get_backend_name() != "sqlite":
        raise ValueError("the database must be sqlite:///<path>")
    shared = (f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}", "PRAGMA foreign_keys=ON")
    durable = ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL")
    writer = _engine(url, "BEGIN IMMEDIATE", (*shared, *durable))
    reader = _engine(url, "BEGIN", (*shared, "PRAGMA query_only=ON"))
    return writer, reader


class Store:
    """The database of one process of the server: ``sqlite:///<path>``."""

    def __init__(self, url: str) -> None:
        self.engine, self._reader_engine = _engines(url)
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._writer: Connection | None = None
        self._reader: Connection | None = None
        self._closed = False

    async def write(self, function: Callable[[Connection], T]) -> T:
        """Run ``function`` in a transaction; return its value once that is on disk.

        Raises what the function raised, or StoreError.
        """
        if self._closed:
            raise StoreError("the store is closed")
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="store-writer", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        job = _Job(function, loop.create_future(), loop)
        self._queue.put(job)
        value: T = await job.future
        return value

    async def read(self, function: Callable[[Connection], T]) -> T:
        """Run ``function`` on one snapshot of what is committed. It may not write.

        Runs in the event loop: a look-up in SQLite takes less time than a change of threads,
        and in WAL mode readers never wait for the writer. Raises what the function raises, or
        StoreError.
        """
        return self.read_now(function)

    def write_now(self, function: Callable[[Connection], T]) -> T:
        """``write`` for the command line, without an event loop."""
        (outcome,) = self._run_batch([function])
        if outcome.error is not None:
            raise outcome.error
        value: T = outcome.value
        return value

    def read_now(self, function: Callable[[Connection], T]) -> T:
        """``read`` for the command line, without an event loop."""
        try:
            if self._reader is None:
                self._reader = self._reader_engine.connect()
            with self._reader.begin():
                return function(self._reader)
        except OperationalError as error:
            raise _plain(error) from error

    async def close(self) -> None:
        """Finish what is queued, then close every connection."""
        self._closed = True
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
        self.close_now()

    def close_now(self) -> None:
        """Close every connection; for the command line, which queues nothing."""
        self._closed = True
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader_engine.dispose()
        self.engine.dispose()

    def _serve(self) -> None:
        """The writer's thread: batch after batch until it is told to end."""
        while (first := self._queue.get()) is not None:
            batch, ended = self._gather(first)
            self._answer(batch)
            if ended:
                return

    def _gather(self, first: _Job) -> tuple[list[_Job], bool]:
        """``first`` and what else is queued by now; whether the end was among it."""
        batch = [first]
        while len(batch) < MAX_BATCH:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return batch, True
            batch.append(job)
        return batch, False

    def _answer(self, batch: list[_Job]) -> None:
        try:
            outcomes = self._run_batch([job.function for job in batch])
        except Exception as error:
            # Whatever it was, those who wait must hear of it and the thread must live on.
            outcomes = [_Outcome(error=error)] * len(batch)
        for job, outcome in zip(batch, outcomes, strict=True):
            job.answer(outcome)

    def _run_batch(self, functions: Sequence[Callable[[Connection], Any]]) -> list[_Outcome]:
        """Run ``functions`` in one transaction. Raises StoreError if it was not committed."""
        try:
            if self._writer is None:
                self._writer = self.engine.connect()
            if len(functions) == 1:
                return [_run_alone(self._writer, functions[0])]
            with self._writer.begin():
                return [_run_one(self._writer, function) for function in functions]
        except SQLAlchemyError as error:
            self._drop_writer()
            raise StoreError(f"the database refused the transaction: {error}") from error
        except StoreError:
            self._drop_writer()
            raise

    def _drop_writer(self) -> None:
        """Give the connection back to the pool, which rolls back what a failed COMMIT left."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

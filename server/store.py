"""The one place that opens and commits transactions.

A transaction is a plain function of a ``Connection``: it reads, decides through the pure modules,
writes, and returns a value. It must not keep the connection, wait, or talk to anyone, and it must
bear being run again: a connection to PostgreSQL may break amid it.

``write`` runs functions in one thread, with group commit: whatever is queued by its turn shares one
transaction and one ``COMMIT`` (one fsync), each function inside a savepoint of its own if there
are several. A function that raises is undone alone and its caller gets the exception. On PostgreSQL
(``server.postgresql_database``) the servers that share a database take turns, so that on either
one function at a time reads, decides and writes. Nobody gets an answer before the commit; if that
fails, nothing has happened and every caller gets StoreError. Only who loses the connection to
PostgreSQL during a commit cannot know: that is StoreAwayError, and whoever sent the statement sends
it again.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError

from server.sqlite_database import SqliteDatabase
from server.transaction import Database, Function, Outcome
from server.transaction import StoreAwayError as StoreAwayError
from server.transaction import StoreError as StoreError

T = TypeVar("T")

_POSTGRESQL: Final = "postgresql+psycopg"
DRIVER_MISSING: Final = (
    'the driver for PostgreSQL is missing; run: pip install "cigarjack[postgresql]"'
)


@dataclass(frozen=True, slots=True)
class _Job:
    """One queued function, and the future of whoever waits for it."""

    function: Function
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop

    def answer(self, outcome: Outcome) -> None:
        # A loop that has been closed took whoever waited with it.
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(_resolve, self.future, outcome)


def _resolve(future: asyncio.Future[Any], outcome: Outcome) -> None:
    if future.done():
        return
    if outcome.error is not None:
        future.set_exception(outcome.error)
    else:
        future.set_result(outcome.value)


def database_url(state: Path) -> str:
    """The default database: a file in the server's state folder."""
    return f"sqlite:///{state / 'server.sqlite3'}"


def check_url(url: str) -> str:
    """``url``, if it names a database of a kind that the server can use. Raises ValueError."""
    try:
        driver = make_url(url).drivername
    except ArgumentError:
        driver = ""
    if driver not in ("sqlite", _POSTGRESQL):
        raise ValueError(
            "the database must be sqlite:///<path>"
            f" or {_POSTGRESQL}://<user>:<password>@<host>/<name>"
        )
    return url


def _database(url: str) -> Database:
    if make_url(check_url(url)).drivername == "sqlite":
        return SqliteDatabase(url)
    try:
        from server.postgresql_database import PostgresqlDatabase

        return PostgresqlDatabase(url)
    except ImportError:
        raise StoreError(DRIVER_MISSING) from None


class Store:
    """The database of one process of the server: ``sqlite:///…`` or ``postgresql+psycopg://…``."""

    def __init__(self, url: str) -> None:
        """Connects when it is first used. Raises ValueError, StoreError."""
        self._database = _database(url)
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._closed = False

    @property
    def engine(self) -> Engine:
        """What writes."""
        return self._database.engine

    @property
    def shared(self) -> bool:
        """Whether other servers may work on the same database."""
        return self._database.shared

    @property
    def max_batch(self) -> int:
        """How many functions share a commit, at most."""
        return self._database.max_batch

    @property
    def queued(self) -> int:
        """How many transactions wait for this process's writer."""
        return self._queue.qsize()

    async def write(self, function: Callable[[Connection], T]) -> T:
        """Run ``function`` in a transaction; return its value once that is on disk.

        Raises what the function raised, or StoreError.
        """
        if self._closed:
            raise StoreError("the store is closed")
        if self._writer is None:
            self._writer = threading.Thread(target=self._serve, name="store-writer", daemon=True)
            self._writer.start()
        loop = asyncio.get_running_loop()
        job = _Job(function, loop.create_future(), loop)
        self._queue.put(job)
        value: T = await job.future
        return value

    async def read(self, function: Callable[[Connection], T]) -> T:
        """Run ``function`` on one snapshot of what is committed. It may not write.

        Runs in the event loop if the database is close by. Raises what the function raises, or
        StoreError.
        """
        if not self._database.readers:
            return self.read_now(function)
        if self._closed:
            raise StoreError("the store is closed")
        if self._readers is None:
            self._readers = ThreadPoolExecutor(self._database.readers, "store-reader")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self.read_now, function)

    def write_now(self, function: Callable[[Connection], T]) -> T:
        """``write`` for the command line, without an event loop."""
        (outcome,) = self._database.write(lambda: (function,))
        if outcome.error is not None:
            raise outcome.error
        value: T = outcome.value
        return value

    def read_now(self, function: Callable[[Connection], T]) -> T:
        """``read`` for the command line, without an event loop."""
        value: T = self._database.read(function)
        return value

    async def close(self) -> None:
        """Finish what is queued, then close every connection."""
        self._closed = True
        if self._writer is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._writer.join)
        if self._readers is not None:
            await asyncio.to_thread(self._readers.shutdown)
        self.close_now()

    def close_now(self) -> None:
        """Close every connection; for the command line, which queues nothing."""
        self._closed = True
        self._database.close()

    def _serve(self) -> None:
        """The writer's thread: batch after batch until it is told to end."""
        ended = False
        while not ended and (first := self._queue.get()) is not None:
            batch = _Batch(first, self._queue, self._database.max_batch)
            try:
                outcomes = self._database.write(batch.functions)
            except Exception as error:
                # Whatever it was, those who wait must hear of it and the thread must live on.
                outcomes = [Outcome(error=error)] * len(batch.functions())
            ended = batch.answer(outcomes)


class _Batch:
    """What shares a transaction: one job, and what else is queued by the time of its turn."""

    def __init__(self, first: _Job, waiting: queue.SimpleQueue[_Job | None], limit: int) -> None:
        self._jobs = [first]
        self._waiting = waiting
        self._limit = limit
        self._gathered = self._ended = False

    def functions(self) -> list[Function]:
        """Gathers when it is first called; the same ones from then on."""
        if not self._gathered:
            self._gathered = True
            self._gather()
        return [job.function for job in self._jobs]

    def answer(self, outcomes: list[Outcome]) -> bool:
        """Tell everyone; whether the store's end was queued behind them."""
        for job, outcome in zip(self._jobs, outcomes, strict=True):
            job.answer(outcome)
        return self._ended

    def _gather(self) -> None:
        while len(self._jobs) < self._limit:
            try:
                job = self._waiting.get_nowait()
            except queue.Empty:
                return
            if job is None:
                self._ended = True
                return
            self._jobs.append(job)

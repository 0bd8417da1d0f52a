"""All that is PostgreSQL's own: serializable transactions, repeated when they clash.

Why it is so, and what has to take turns all the same: docs/decisions/0015-postgresql.md.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal

from sqlalchemy import Connection, Engine, create_engine, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, InternalError, OperationalError

from server.transaction import Function, Outcome, StoreAwayError, StoreError

#: Transactions of one process at once. More mostly get into each other's way.
WRITERS: Final = 4
#: Reading transactions of one process at once.
READERS: Final = 4
#: Runs of a transaction that clashes. From the second on its own process is not in its way.
MAX_RUNS: Final = 30
#: Between two of them up to this long, so that those of several servers spread.
_SPREAD_S: Final = 0.01
#: How long a server that does not answer is waited for.
CONNECT_TIMEOUT_S: Final = 5
#: How long data may stay unacknowledged before the connection counts as lost.
_UNACKNOWLEDGED_MS: Final = 10_000
#: Of each session. Index scans, because a transaction that has read a whole table clashes with
#: every write to it. The time-outs end what a dead process left open, so that nobody waits for it.
_SESSION: Final = {
    "enable_seqscan": "off",
    "lock_timeout": "5s",
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "15s",
}
#: How long transactions that write are waited for, and how often is looked. Most end in 10 ms.
_SETTLE_TIMEOUT_S: Final = 5.0
_SETTLE_LOOK_S: Final = 0.005
_SERIALIZATION_FAILURE: Final = "40001"
_DEADLOCK: Final = "40P01"
_UNIQUE_VIOLATION: Final = "23505"
#: "Operator intervention": the server is stopped, or stopping, or starting.
_STOPPED: Final = "57P"


class _Lane:
    """Lets transactions run side by side, and one that has clashed alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._taken = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._taken)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._taken)
            self._taken = True
            self._changed.wait_for(lambda: not self._running)
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._changed.notify_all()


class PostgresqlDatabase:
    """``postgresql+psycopg://…``: each function in a transaction of its own, several at once."""

    threads: int = WRITERS
    max_batch: int = 1
    shared: bool = True
    reads_wait: bool = True

    def __init__(self, url: str) -> None:
        self.engine = _engine(url, "SERIALIZABLE", WRITERS, _SESSION)
        read_only = _SESSION | {"default_transaction_read_only": "on"}
        self._reader_engine = _engine(url, "REPEATABLE READ", READERS, read_only)
        self._lane = _Lane()

    def write(self, functions: Sequence[Function]) -> list[Outcome]:
        """Run each function in a transaction of its own. Raises StoreError."""
        return [self._write_one(function) for function in functions]

    def _write_one(self, function: Function) -> Outcome:
        """Repeated while it clashes; once more if its connection was gone, or its row hidden."""
        again = True
        for run in range(MAX_RUNS):
            with self._lane.alone() if run else self._lane.shared():
                outcome = self._run(function)
            error = outcome.error
            if error is None:
                return outcome
            if not _clashed(error):
                if not (again and (_disconnected(error) or _met_hidden_row(error))):
                    return Outcome(error=_plain(error))
                again = False
            time.sleep(random.uniform(0, _SPREAD_S))  # noqa: S311 - only spreads
        raise StoreError("the database is too busy: the transaction clashed every time")

    def _run(self, function: Function) -> Outcome:
        """One run. An error of the commit, after which nobody knows, is raised, others are told."""
        try:
            with self.engine.connect() as connection:
                transaction = connection.begin()
                try:
                    value = function(connection)
                except Exception as error:
                    transaction.rollback()
                    return Outcome(error=error)
                try:
                    transaction.commit()
                except DBAPIError as error:
                    if _clashed(error) or not _disconnected(error):
                        return Outcome(error=error)
                    raise _plain(error) from error
                return Outcome(value)
        except DBAPIError as error:
            return Outcome(error=error)

    def read(self, function: Function) -> Any:
        """On one snapshot; once more if the connection was gone."""
        try:
            return self._read_once(function)
        except DBAPIError as error:
            if not _disconnected(error):
                raise _plain(error) from error
        try:
            return self._read_once(function)
        except DBAPIError as error:
            raise _plain(error) from error

    def _read_once(self, function: Function) -> Any:
        with self._reader_engine.connect() as connection, connection.begin():
            return function(connection)

    def settled(self, table: str, column: str) -> int | None:
        """The last number given out, once all who may still hold one of those before have ended.

        Numbers are given before the commit, by writers that have locked the table for it. As
        CREATE INDEX CONCURRENTLY does, this waits for those that hold the lock at this moment, and
        is in nobody's way.
        """
        try:
            with self._reader_engine.connect() as connection:
                connection = connection.execution_options(isolation_level="AUTOCOMMIT")
                last = _last_number(connection, table, column)
                writers = _writers(connection, table)
                deadline_s = time.monotonic() + _SETTLE_TIMEOUT_S
                while writers:
                    if time.monotonic() > deadline_s:
                        raise StoreError(f"transactions on {table} are open for too long")
                    time.sleep(_SETTLE_LOOK_S)
                    writers &= _writers(connection, table)
                return last
        except DBAPIError as error:
            raise _plain(error) from error

    def close(self) -> None:
        self._reader_engine.dispose()
        self.engine.dispose()


def conninfo(url: str) -> str:
    """The same address for libpq."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def lock_series(connection: Connection, series: str) -> None:
    """Until the commit nobody else adds to ``series``."""
    lock = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
    connection.exec_driver_sql(lock, (series,))


def _last_number(connection: Connection, table: str, column: str) -> int:
    """Also of transactions that are open, or were undone."""
    last = "SELECT pg_sequence_last_value(pg_get_serial_sequence(%s, %s)::regclass)"
    return connection.exec_driver_sql(last, (table, column)).scalar_one() or 0


def _writers(connection: Connection, table: str) -> set[str]:
    """The transactions that may have numbers of ``table``: INSERT takes this lock first."""
    locks = (
        "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND granted"
        " AND mode = 'RowExclusiveLock' AND relation = %s::regclass"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return set(connection.exec_driver_sql(locks, (table,)).scalars())


def _engine(
    url: str,
    isolation: Literal["SERIALIZABLE", "REPEATABLE READ"],
    connections: int,
    session: dict[str, str],
) -> Engine:
    return create_engine(
        url,
        isolation_level=isolation,
        pool_size=connections,
        max_overflow=connections,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "tcp_user_timeout": _UNACKNOWLEDGED_MS,
            "application_name": "cigarjack-server",
            "options": " ".join(f"-c {name}={value}" for name, value in session.items()),
        },
    )


def _clashed(error: BaseException) -> bool:
    """Whether the transaction was only in another's way, and is to be repeated as it was."""
    return _sqlstate(error) in (_SERIALIZATION_FAILURE, _DEADLOCK)


def _met_hidden_row(error: BaseException) -> bool:
    """Whether ``error`` comes from a row that its transaction could perhaps not see yet.

    The function may have made an error of its own of it. Repeated it sees the row.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, IntegrityError) and _sqlstate(cause) == _UNIQUE_VIOLATION:
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _disconnected(error: BaseException) -> bool:
    """Whether the connection is gone, with the transaction."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _sqlstate(error: BaseException) -> str | None:
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def _plain(error: Exception) -> Exception:
    """What the database could not do is StoreError for everyone."""
    if not isinstance(error, OperationalError | InternalError):
        return error
    state = _sqlstate(error)
    if state is None or state.startswith(_STOPPED):
        # Without a state nobody answered: it is the driver's own word.
        return StoreAwayError(f"PostgreSQL does not answer: {_first_line(error)}")
    return StoreError(_first_line(error))


def _first_line(error: DBAPIError) -> str:
    return (str(error.orig).strip().splitlines() or ["no reason given"])[0]

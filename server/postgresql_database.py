"""All that is PostgreSQL's own: servers that take turns at writing, and connections that break.

Why they take turns: docs/decisions/0026-writers-take-turns.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final, Literal, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, RootTransaction, create_engine, make_url
from sqlalchemy.exc import DBAPIError, InternalError, OperationalError

from server.transaction import Function, Gather, Outcome, StoreAwayError, StoreError

T = TypeVar("T")

#: Functions in one commit: bounds how long the others wait for their turn.
MAX_BATCH: Final = 16
#: Threads that read, each with a connection.
READERS: Final = 4
#: How long a server that does not answer is waited for.
CONNECT_TIMEOUT_S: Final = 5
#: A connection whose other end is gone is noticed within some 10 s, by client and server.
_KEEPALIVES: Final = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_LASTING: Final = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}
_SESSION: Final = _LASTING | {"statement_timeout": "30s"}
#: A process that stops amid its turn loses it before those who wait give up.
WRITING: Final = {"idle_in_transaction_session_timeout": "3s", "lock_timeout": "5s"}
_READING: Final = {
    "default_transaction_read_only": "on",
    "idle_in_transaction_session_timeout": "15s",
    "lock_timeout": "5s",
}
#: Held until the commit by whoever writes; of this database alone.
_TAKE_TURN: Final = "SELECT pg_advisory_xact_lock(hashtextextended('cigarjack-server', 0))"
#: Held by the sessions of servers together, or by that of one command (``server.occupancy``).
_OCCUPANCY: Final = "hashtextextended('cigarjack-server occupancy', 0)"
#: Waits for the command's end.
SHARE: Final = f"SELECT pg_advisory_lock_shared({_OCCUPANCY})"
_BE_ALONE: Final = f"SELECT pg_advisory_lock({_OCCUPANCY})"
#: PostgreSQL may still be ending the session of who has just stopped.
_LEAVING: Final = {"lock_timeout": "2s"}
_NO_TURN: Final = "55P03"
#: A transaction that was ended because nothing came.
_IDLE: Final = "25P03"
#: "Operator intervention": the server is stopped, or stopping, or starting.
_STOPPED: Final = "57P"


class _BrokenError(Exception):
    """The connection is gone, and with it the transaction: nothing of it has happened."""


class PostgresqlDatabase:
    """``postgresql+psycopg://…``: as with SQLite one writes at a time, of all servers together."""

    max_batch: int = MAX_BATCH
    shared: bool = True
    readers: int = READERS

    def __init__(self, url: str) -> None:
        # Whoever has the turn sees all that was committed before it, and nothing is after.
        self.engine = _engine(url, "READ COMMITTED", 1, WRITING)
        self._reader_engine = _engine(url, "REPEATABLE READ", READERS, _READING)

    def write(self, gather: Gather) -> list[Outcome]:
        """Run functions in one transaction. Raises StoreError if it was not committed."""
        return _twice(lambda: self._write(gather))

    def _write(self, gather: Gather) -> list[Outcome]:
        with self.engine.connect() as connection:
            transaction = connection.begin()
            _take_turn(connection)
            functions = gather()
            if len(functions) == 1:
                return [_run_alone(connection, transaction, functions[0])]
            outcomes = [_run_one(connection, function) for function in functions]
            _commit(transaction)
            return outcomes

    def read(self, function: Function) -> Any:
        """On one snapshot."""
        return _twice(lambda: self._read(function))

    def _read(self, function: Function) -> Any:
        with self._reader_engine.connect() as connection, connection.begin():
            return function(connection)

    def close(self) -> None:
        self._reader_engine.dispose()
        self.engine.dispose()


def conninfo(url: str) -> str:
    """The same address for libpq."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def lasting(name: str, session: dict[str, str] | None = None) -> dict[str, Any]:
    """For a connection that is kept and says little: either end notices when the other is gone."""
    return {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": f"cigarjack-server {name}",
        "options": _options(_LASTING | (session or {})),
        **_KEEPALIVES,
    }


@contextmanager
def occupied(url: str, *, alone: bool) -> Iterator[bool]:
    """Whether the database was to be had, shared or alone; if so, it is while the block runs.

    Raises StoreAwayError.
    """
    how = lasting("occupancy", _LEAVING)
    with ExitStack() as stack:
        try:
            connection = psycopg.connect(conninfo(url), autocommit=True, **how)
            stack.callback(connection.close)
            connection.execute(_BE_ALONE if alone else SHARE)
            got = True
        except psycopg.errors.LockNotAvailable:
            got = False
        except psycopg.Error as error:
            raise StoreAwayError(f"PostgreSQL does not answer: {error}") from error
        yield got


def _twice(work: Callable[[], T]) -> T:
    """What ``work`` gives, done once more if the connection was gone and took all with it."""
    try:
        return work()
    except (_BrokenError, DBAPIError) as error:
        if not _disconnected(error):
            raise _plain(error) from error
    try:
        return work()
    except (_BrokenError, DBAPIError) as error:
        raise _plain(error) from error


def _take_turn(connection: Connection) -> None:
    try:
        connection.exec_driver_sql(_TAKE_TURN)
    except OperationalError as error:
        if _sqlstate(error) != _NO_TURN:
            raise
        raise StoreError("another process has kept the database's one writer too long") from error


def _run_alone(connection: Connection, transaction: RootTransaction, function: Function) -> Outcome:
    """A transaction of one function, which needs no savepoint."""
    outcome = _call(connection, function)
    if outcome.error is not None:
        transaction.rollback()
    else:
        _commit(transaction)
    return outcome


def _run_one(connection: Connection, function: Function) -> Outcome:
    """One function of several in a transaction."""
    connection.exec_driver_sql("SAVEPOINT one")
    outcome = _call(connection, function)
    if outcome.error is not None:
        connection.exec_driver_sql("ROLLBACK TO one")
    connection.exec_driver_sql("RELEASE one")
    return outcome


def _call(connection: Connection, function: Function) -> Outcome:
    """What the function came to. Raises _BrokenError if that was the end of the connection."""
    try:
        value = function(connection)
    except Exception as error:
        if connection.invalidated:
            raise _BrokenError(str(error)) from error
        return Outcome(error=_plain(error))
    driver: Any = connection.connection.driver_connection
    if driver.info.transaction_status == TransactionStatus.INERROR:
        # PostgreSQL makes a rollback of such a commit, and calls that no error.
        return Outcome(error=StoreError("a statement failed, and its error was passed over"))
    return Outcome(value)


def _commit(transaction: RootTransaction) -> None:
    """Raises StoreAwayError if the connection is lost meanwhile: then nobody knows."""
    try:
        transaction.commit()
    except DBAPIError as error:
        # What was ended for being idle has never heard of the commit.
        if not _disconnected(error) or _sqlstate(error) == _IDLE:
            raise
        raise StoreAwayError(f"PostgreSQL does not answer: {_first_line(error)}") from error


def _engine(
    url: str,
    isolation: Literal["READ COMMITTED", "REPEATABLE READ"],
    connections: int,
    session: dict[str, str],
) -> Engine:
    settings = _SESSION | session
    return create_engine(
        url,
        isolation_level=isolation,
        pool_size=connections,
        max_overflow=connections,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": "cigarjack-server",
            "options": _options(settings),
            **_KEEPALIVES,
        },
    )


def _options(settings: dict[str, str]) -> str:
    return " ".join(f"-c {name}={value}" for name, value in settings.items())


def _disconnected(error: BaseException) -> bool:
    """Whether the connection is gone, with the transaction."""
    gone = isinstance(error, DBAPIError) and error.connection_invalidated
    return gone or isinstance(error, _BrokenError)


def _sqlstate(error: BaseException) -> str | None:
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def _plain(error: Exception) -> Exception:
    """What the database could not do is StoreError for everyone."""
    if isinstance(error, _BrokenError):
        return StoreAwayError(f"PostgreSQL does not answer: {error}")
    if not isinstance(error, OperationalError | InternalError):
        return error
    state = _sqlstate(error)
    if state is None or state.startswith(_STOPPED):
        # Without a state nobody answered: it is the driver's own word.
        return StoreAwayError(f"PostgreSQL does not answer: {_first_line(error)}")
    return StoreError(_first_line(error))


def _first_line(error: DBAPIError) -> str:
    return (str(error.orig).strip().splitlines() or ["no reason given"])[0]

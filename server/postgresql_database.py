"""All that is PostgreSQL's own: servers that take turns at writing, and connections that break.

Why they take turns: docs/decisions/0026-writers-take-turns.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeVar

from sqlalchemy import Connection, Engine, RootTransaction, create_engine, make_url
from sqlalchemy.exc import DBAPIError, InternalError, OperationalError

from server.transaction import Function, Outcome, StoreAwayError, StoreError

T = TypeVar("T")

#: Functions in one commit: bounds how long the others wait for their turn.
MAX_BATCH: Final = 16
#: Threads that read, each with a connection.
READERS: Final = 4
#: How long a server that does not answer is waited for.
CONNECT_TIMEOUT_S: Final = 5
#: How long data may stay unacknowledged before the connection counts as lost.
_UNACKNOWLEDGED_MS: Final = 10_000
#: Of each session. A process that stops amid its turn loses it before those who wait give up.
SESSION: Final = {
    "idle_in_transaction_session_timeout": "5s",
    "lock_timeout": "10s",
    "statement_timeout": "30s",
}
#: Held until the commit by whoever writes; of this database alone.
_TAKE_TURN: Final = "SELECT pg_advisory_xact_lock(hashtextextended('cigarjack-server', 0))"
#: "Lock not available": the turn did not come in time.
_NO_TURN: Final = "55P03"
#: "Operator intervention": the server is stopped, or stopping, or starting.
_STOPPED: Final = "57P"


class PostgresqlDatabase:
    """``postgresql+psycopg://…``: as with SQLite one writes at a time, of all servers together."""

    max_batch: int = MAX_BATCH
    shared: bool = True
    readers: int = READERS

    def __init__(self, url: str) -> None:
        # Whoever has the turn sees all that was committed before it, and nothing is after.
        self.engine = _engine(url, "READ COMMITTED", 1, SESSION)
        read_only = SESSION | {"default_transaction_read_only": "on"}
        self._reader_engine = _engine(url, "REPEATABLE READ", READERS, read_only)

    def write(self, functions: Sequence[Function]) -> list[Outcome]:
        """Run ``functions`` in one transaction. Raises StoreError if it was not committed."""
        return _twice(lambda: self._write(functions))

    def _write(self, functions: Sequence[Function]) -> list[Outcome]:
        with self.engine.connect() as connection:
            transaction = connection.begin()
            connection.exec_driver_sql(_TAKE_TURN)
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


def _twice(work: Callable[[], T]) -> T:
    """What ``work`` gives, done once more if the connection was gone and took all with it."""
    try:
        return work()
    except DBAPIError as error:
        if not _disconnected(error):
            raise _plain(error) from error
    try:
        return work()
    except DBAPIError as error:
        raise _plain(error) from error


def _run_alone(connection: Connection, transaction: RootTransaction, function: Function) -> Outcome:
    """A transaction of one function, which needs no savepoint."""
    try:
        value = function(connection)
    except Exception as error:
        outcome = _failed(error)
        transaction.rollback()
        return outcome
    _commit(transaction)
    return Outcome(value)


def _run_one(connection: Connection, function: Function) -> Outcome:
    """One function of several in a transaction."""
    connection.exec_driver_sql("SAVEPOINT one")
    try:
        outcome = Outcome(function(connection))
    except Exception as error:
        outcome = _failed(error)
        connection.exec_driver_sql("ROLLBACK TO one")
    connection.exec_driver_sql("RELEASE one")
    return outcome


def _failed(error: Exception) -> Outcome:
    """An error of the function's own. One that ended the whole transaction is raised again."""
    if _disconnected(error):
        raise error
    return Outcome(error=_plain(error))


def _commit(transaction: RootTransaction) -> None:
    """Raises StoreAwayError if the connection is lost meanwhile: then nobody knows."""
    try:
        transaction.commit()
    except DBAPIError as error:
        if not _disconnected(error):
            raise
        raise StoreAwayError(f"PostgreSQL does not answer: {_first_line(error)}") from error


def _engine(
    url: str,
    isolation: Literal["READ COMMITTED", "REPEATABLE READ"],
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
    if state == _NO_TURN:
        return StoreError("another process has kept the database's one writer for too long")
    if state is None or state.startswith(_STOPPED):
        # Without a state nobody answered: it is the driver's own word.
        return StoreAwayError(f"PostgreSQL does not answer: {_first_line(error)}")
    return StoreError(_first_line(error))


def _first_line(error: DBAPIError) -> str:
    return (str(error.orig).strip().splitlines() or ["no reason given"])[0]

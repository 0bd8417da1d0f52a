"""Who is at a database: servers, which share it, or one command that changes it under them.

On SQLite it is a lock on a file beside the database, on PostgreSQL an advisory lock of a session.
Either ends with its process, however that ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from sqlalchemy import make_url

from server import sqlite_database
from server.database import DatabaseError
from server.store import DRIVER_MISSING, StoreError


@contextmanager
def shared(url: str) -> Iterator[None]:
    """Be at it as a server while the block runs. Raises DatabaseError, StoreError, OSError."""
    with _occupied(url, alone=False) as got:
        if not got:
            raise DatabaseError(
                f"a command changes the database {_shown(url)} (db copy, db restored, migrate or"
                " restore); start the server when it is done"
            )
        yield


@contextmanager
def alone(url: str) -> Iterator[None]:
    """Be the only one at it while the block runs. Raises DatabaseError, StoreError, OSError."""
    with _occupied(url, alone=True) as got:
        if not got:
            raise DatabaseError(
                f"a server runs on the database {_shown(url)}, or another command changes it;"
                " stop every server of that database and try again"
            )
        yield


def _occupied(url: str, *, alone: bool) -> AbstractContextManager[bool]:
    if make_url(url).drivername == "sqlite":
        return sqlite_database.occupied(url, alone=alone)
    try:
        from server import postgresql_database
    except ImportError:
        raise StoreError(DRIVER_MISSING) from None
    return postgresql_database.occupied(url, alone=alone)


def _shown(url: str) -> str:
    """Without the password."""
    return make_url(url).render_as_string(hide_password=True)

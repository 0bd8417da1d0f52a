"""Who is logged in, and where somebody was: in the database, so that every server that shares it
knows.

A *known browser* is one in which an admin has logged in. It opens nothing; but what fails there
is counted for itself, so that nobody else's failures keep the admin out of it.

Every function is a part of a transaction. The cookies' secrets are nowhere but in the browser.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from server.schema.admins import admin_browsers, admin_sessions

#: After so long without a request by a person: somebody has left the desk.
IDLE_MS: Final = 30 * 60 * 1000
#: A working day with its breaks.
LIFETIME_MS: Final = 12 * 3600 * 1000
#: A browser is forgotten so long after the last login in it.
KNOWN_MS: Final = 90 * 86_400 * 1000
#: How exactly it is known when a session was last used; a write for each page would be a waste.
_SEEN_EVERY_MS: Final = 60 * 1000


@dataclass(frozen=True, slots=True)
class Session:
    """An open session. ``stale``: that it is used is to be noted (``touch``)."""

    digest: str
    admin: str
    stale: bool


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def open_session(connection: Connection, admin: str, secret: str, now_ms: int) -> None:
    """``secret``: fresh and random, 128 bits or more. Forgets those that have ended."""
    over = (admin_sessions.c.opened_ms <= now_ms - LIFETIME_MS) | (
        admin_sessions.c.seen_ms <= now_ms - IDLE_MS
    )
    connection.execute(delete(admin_sessions).where(over))
    connection.execute(
        insert(admin_sessions).values(
            digest=_digest(secret), admin=admin, opened_ms=now_ms, seen_ms=now_ms
        )
    )


def find_session(connection: Connection, secret: str, now_ms: int) -> Session | None:
    """The session that ``secret`` opens at present."""
    query = select(admin_sessions).where(admin_sessions.c.digest == _digest(secret))
    row = connection.execute(query).one_or_none()
    if row is None or now_ms >= row.opened_ms + LIFETIME_MS or now_ms >= row.seen_ms + IDLE_MS:
        return None
    return Session(row.digest, row.admin, now_ms >= row.seen_ms + _SEEN_EVERY_MS)


def touch(connection: Connection, digest: str, now_ms: int) -> None:
    """It is used now."""
    used = update(admin_sessions).where(admin_sessions.c.digest == digest)
    connection.execute(used.values(seen_ms=now_ms))


def end_session(connection: Connection, digest: str) -> None:
    connection.execute(delete(admin_sessions).where(admin_sessions.c.digest == digest))


def known_browser(connection: Connection, admin: str, secret: str, now_ms: int) -> str | None:
    """The digest of the browser that carries ``secret``, if ``admin`` has logged in there."""
    digest = _digest(secret)
    known = select(admin_browsers.c.digest).where(
        admin_browsers.c.digest == digest,
        admin_browsers.c.admin == admin,
        admin_browsers.c.known_ms > now_ms - KNOWN_MS,
    )
    return digest if connection.execute(known).first() else None


def know_browser(connection: Connection, admin: str, before: str, secret: str, now_ms: int) -> None:
    """Of now on it carries ``secret``, fresh and random, instead of ``before``.

    Forgets those in which nobody has logged in for long.
    """
    over = admin_browsers.c.known_ms <= now_ms - KNOWN_MS
    same = (admin_browsers.c.digest == _digest(before)) & (admin_browsers.c.admin == admin)
    connection.execute(delete(admin_browsers).where(over | same))
    values = {"digest": _digest(secret), "admin": admin, "known_ms": now_ms}
    connection.execute(insert(admin_browsers).values(values))

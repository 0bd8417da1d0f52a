"""Who may log in to the dashboard: names, passwords, one-time codes, and what they did.

Every function that takes a connection is a part of a transaction. A code counts for one login:
the step of the last one is kept, and none of that step or before is taken (RFC 6238, 5.2).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from pyotp.utils import strings_equal
from sqlalchemy import Connection, delete, func, insert, select, update

from server.registry import RegistryError
from server.schema.admins import admin_actions, admin_browsers, admin_sessions, admins

MIN_PASSWORD: Final = 12
#: Argon2 reads all of it.
MAX_PASSWORD: Final = 256
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}", re.ASCII)
_STEP_S: Final = 30
#: Of clocks that differ: the code of the step before and of the one after are taken too.
_STEPS_AROUND: Final = (0, -1, 1)
_ISSUER: Final = "CigarJack"
#: RFC 9106's second choice, for where memory is scarce: 64 MiB and three passes.
_HASHER: Final = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=4)
#: Takes as long to verify as a real one, and none fits. Made with the parameters above.
_NOBODYS: Final = _HASHER.hash(pyotp.random_base32())


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an admin logs in by. ``password``: hashed."""

    password: str = field(repr=False)
    totp_secret: str = field(repr=False)


def make_credentials(password: str) -> Credentials:
    """With a fresh secret for one-time codes. Raises RegistryError."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise RegistryError(f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters")
    return Credentials(_HASHER.hash(password), pyotp.random_base32())


def totp_uri(name: str, secret: str) -> str:
    """What an app for one-time codes reads from a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=_ISSUER)


def is_name(text: str) -> bool:
    """Whether an admin can be called so."""
    return _NAME.fullmatch(text) is not None


def password_holds(kept: str | None, password: str) -> bool:
    """Whether it is the one of ``kept``; None, which is nobody's, takes as long. 50 to 200 ms."""
    try:
        _HASHER.verify(kept or _NOBODYS, password)
    except (VerificationError, InvalidHashError):
        return False
    return kept is not None


def step_of(secret: str, code: str, now_s: int) -> int | None:
    """Of which time step ``code`` is, near ``now_s``; None: of none."""
    totp = pyotp.TOTP(secret)
    for around in _STEPS_AROUND:
        step = now_s // _STEP_S + around
        if strings_equal(code, totp.generate_otp(step)):
            return step
    return None


def use_step(connection: Connection, name: str, password: str, step: int) -> bool:
    """Use the code of ``step`` up; False if it or a later one was used, or all is new since.

    ``password``: the kept one that was verified.
    """
    used = update(admins).where(
        admins.c.name == name, admins.c.password == password, admins.c.totp_step < step
    )
    return connection.execute(used.values(totp_step=step)).rowcount == 1


def find_admin(connection: Connection, name: str) -> Any:
    """The row, or None."""
    return connection.execute(select(admins).where(admins.c.name == name)).one_or_none()


def any_admin(connection: Connection) -> bool:
    return connection.execute(select(admins.c.name).limit(1)).first() is not None


def add_admin(connection: Connection, name: str, credentials: Credentials, at_ms: int) -> None:
    """Raises RegistryError."""
    if not is_name(name):
        raise RegistryError("a name has 1 to 32 of a-z, 0-9, dot, hyphen and underscore")
    if find_admin(connection, name) is not None:
        raise RegistryError(f"there is an admin {name!r} already; see: cigarjack-server admin list")
    connection.execute(
        insert(admins).values(
            name=name,
            password=credentials.password,
            totp_secret=credentials.totp_secret,
            created_ms=at_ms,
        )
    )


def reset_admin(connection: Connection, name: str, credentials: Credentials) -> None:
    """New password and secret; sessions of the old ones end. Raises RegistryError."""
    _known(connection, name)
    _forget(connection, name)
    connection.execute(
        update(admins)
        .where(admins.c.name == name)
        .values(password=credentials.password, totp_secret=credentials.totp_secret, totp_step=0)
    )


def remove_admin(connection: Connection, name: str) -> None:
    """And end the sessions. What the admin did stays. Raises RegistryError."""
    _known(connection, name)
    _forget(connection, name)
    connection.execute(delete(admins).where(admins.c.name == name))


def _forget(connection: Connection, name: str) -> None:
    """End the sessions; no browser is the admin's any more."""
    for table in (admin_sessions, admin_browsers):
        connection.execute(delete(table).where(table.c.admin == name))


def _known(connection: Connection, name: str) -> None:
    if find_admin(connection, name) is None:
        raise RegistryError(f"there is no admin {name!r}; see: cigarjack-server admin list")


def list_admins(connection: Connection) -> list[dict[str, Any]]:
    """Names, and when each was last seen (None: is not logged in)."""
    seen = select(func.max(admin_sessions.c.seen_ms)).where(admin_sessions.c.admin == admins.c.name)
    rows = select(admins.c.name, admins.c.created_ms, seen.scalar_subquery().label("seen_ms"))
    return [dict(row._mapping) for row in connection.execute(rows.order_by(admins.c.name))]


def note_action(
    connection: Connection, admin: str, action: str, subject: str, detail: str, at_ms: int
) -> None:
    """In the transaction in which it takes effect."""
    values = {"admin": admin, "action": action, "subject": subject, "detail": detail}
    connection.execute(insert(admin_actions).values(at_ms=at_ms, **values))


def recent_actions(connection: Connection, limit: int) -> list[Any]:
    """The newest first."""
    query = select(admin_actions).order_by(admin_actions.c.seq.desc()).limit(limit)
    return list(connection.execute(query))

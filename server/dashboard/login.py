"""Logging in: a password and a one-time code, a limited number of times."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection

from server.allowances import lift
from server.dashboard.admins import (
    MAX_PASSWORD,
    find_admin,
    is_name,
    note_action,
    password_holds,
    step_of,
    use_step,
)
from server.dashboard.sessions import know_browser, known_browser, open_session
from server.kinds import FailureKind
from server.services import Services

#: Each takes 64 MiB while it is verified, and a core that payments want.
_AT_ONCE: Final = 2
#: So many digits of a browser's digest tell it from all others.
_SHOWN: Final = 32


@dataclass(frozen=True, slots=True)
class Attempt:
    """What somebody typed, from which address, and what the cookie of a known browser carries."""

    name: str
    password: str = field(repr=False)
    code: str = field(repr=False)
    address: str
    browser: str = field(repr=False, default="")

    def subjects(self, connection: Connection, now_ms: int) -> tuple[str, ...]:
        """What it is counted by: a name that is guessed at, and an address that guesses.

        Where this admin has logged in before, it is that browser alone: ten tries of a stranger
        elsewhere would otherwise keep the admin out.
        """
        name = self.name if is_name(self.name) else "?"
        if known := known_browser(connection, name, self.browser, now_ms):
            return (f"admin-browser:{known[:_SHOWN]}",)
        return f"admin:{name}", f"admin-from:{self.address}"


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Secrets for the cookies: of the session, and of a browser that is known from now on."""

    session: str = field(repr=False)
    browser: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """``wait_s``: after so long it may be tried again, if it was tried too often."""

    wait_s: int = 0


@dataclass(frozen=True)
class Login:
    """``log_in`` is safe against many attempts at once: each is counted before it is looked at."""

    services: Services
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    async def log_in(self, attempt: Attempt) -> LoggedIn | TurnedAway:
        """Raises StoreError."""
        now_ms = self.services.now_ms()
        wait_ms = await self.services.store.write(lambda c: self._count(c, attempt, now_ms))
        if wait_ms:
            return TurnedAway(-(-wait_ms // 1000))
        name = attempt.name if is_name(attempt.name) else ""
        known = await self.services.store.read(lambda c: find_admin(c, name))
        kept = known.password if known is not None else None
        async with self._turns:
            typed = attempt.password[: MAX_PASSWORD + 1]
            right = await asyncio.to_thread(password_holds, kept, typed)
        if not right:
            return TurnedAway()
        step = step_of(known.totp_secret, attempt.code.strip(), now_ms // 1000)
        opened = LoggedIn(secrets.token_urlsafe(32), secrets.token_urlsafe(32))
        if step is None or not await self.services.store.write(
            lambda c: _let_in(c, attempt, known.password, step, opened, now_ms)
        ):
            return TurnedAway()
        return opened

    def _count(self, connection: Connection, attempt: Attempt, now_ms: int) -> int:
        """Count the attempt as failed; or how long it is too many, in ms."""
        limits = self.services.allowances
        subjects = attempt.subjects(connection, now_ms)
        for subject in subjects:
            until_ms = limits.failed_until_ms(connection, FailureKind.LOGIN, subject, now_ms)
            if until_ms is not None:
                return max(1, until_ms - now_ms)
        for subject in subjects:
            limits.note_failure(connection, FailureKind.LOGIN, subject, now_ms)
        return 0


def _let_in(
    connection: Connection, attempt: Attempt, kept: str, step: int, opened: LoggedIn, now_ms: int
) -> bool:
    """Unless the code was used before, or the admin was reset or removed meanwhile."""
    if not use_step(connection, attempt.name, kept, step):
        return False
    for subject in attempt.subjects(connection, now_ms):
        lift(connection, subject)
    open_session(connection, attempt.name, opened.session, now_ms)
    know_browser(connection, attempt.name, attempt.browser, opened.browser, now_ms)
    note_action(connection, attempt.name, "log in", "", f"from {attempt.address}", now_ms)
    return True

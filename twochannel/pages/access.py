"""Who may see an agent's pages: one-time keys that the agent gives out, and the sessions they open.

A key is for one browser and a few minutes; a session is a cookie. Of both only hashes are kept, so
that a copy of the state folder opens nothing. Pure: keys, secrets and the time are arguments.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

#: Long enough to carry a link from a terminal to a browser.
KEY_LIFETIME_S: Final = 300
#: A screen that is fixed to a dashboard is opened once a month.
SESSION_LIFETIME_S: Final = 30 * 24 * 3600
#: A few screens of one owner; what is opened beyond them ends the oldest.
MAX_SESSIONS: Final = 8
MAX_KEYS: Final = 8


@dataclass(frozen=True, slots=True)
class Pass:
    """A key or a session: the hash of its secret, and when it ends (Unix seconds)."""

    digest: str
    expires_s: int


class Access:
    """``sessions``: those that were kept; ``keep`` is told all that hold whenever one is opened."""

    def __init__(self, sessions: Iterable[Pass], keep: Callable[[list[Pass]], None]) -> None:
        self._sessions = list(sessions)
        self._keep = keep
        self._keys: list[Pass] = []

    def invite(self, key: str, now_s: int) -> None:
        """``key`` opens one session within its lifetime."""
        valid = _valid(self._keys, now_s)[1 - MAX_KEYS :]
        self._keys = [*valid, Pass(_digest(key), now_s + KEY_LIFETIME_S)]

    def redeem(self, key: str, session: str, now_s: int) -> bool:
        """Open ``session`` with ``key``; False, and nothing changes, if the key opens none."""
        found = _find(_valid(self._keys, now_s), key)
        if found is None:
            return False
        self._keys.remove(found)
        valid = _valid(self._sessions, now_s)[1 - MAX_SESSIONS :]
        self._sessions = [*valid, Pass(_digest(session), now_s + SESSION_LIFETIME_S)]
        self._keep(self._sessions)
        return True

    def admits(self, session: str, now_s: int) -> bool:
        """Whether ``session`` is open."""
        return _find(_valid(self._sessions, now_s), session) is not None


def form_token(session: str) -> str:
    """What a form of this session carries: other pages cannot read it, and cannot guess it."""
    return hmac.new(session.encode(), b"form", hashlib.sha256).hexdigest()


def same(told: str, expected: str) -> bool:
    """Whether two secrets are equal, in a time that says nothing about where they differ."""
    return hmac.compare_digest(told.encode(), expected.encode())


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _valid(passes: list[Pass], now_s: int) -> list[Pass]:
    return [each for each in passes if now_s < each.expires_s]


def _find(passes: list[Pass], secret: str) -> Pass | None:
    digest = _digest(secret)
    return next((each for each in passes if same(each.digest, digest)), None)

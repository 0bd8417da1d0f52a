"""What every database makes of a transaction: a value, an error of its own, or StoreError."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection, Engine

Function = Callable[[Connection], Any]
#: What to do now that nobody else writes. Asked again, it gives the same.
Gather = Callable[[], Sequence[Function]]


class StoreError(Exception):
    """The database did not take the transaction: nothing of it has happened."""


class StoreAwayError(StoreError):
    """The database does not answer. What was being committed at that moment may be written."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a function came to: a value, or the error that undid it."""

    value: Any = None
    error: Exception | None = None


class Database(Protocol):
    """One kind of database. ``max_batch``: functions in one commit, at most.

    ``shared``: whether other servers may work on it. ``readers``: threads for look-ups; 0 if those
    are so quick that the event loop does them.
    """

    engine: Engine
    max_batch: int
    shared: bool
    readers: int

    def write(self, gather: Gather) -> list[Outcome]:
        """Wait for the turn, run what ``gather`` gives then, commit.

        Raises StoreError if that was not committed.
        """
        ...

    def read(self, function: Function) -> Any:
        """Run ``function`` on a snapshot. Raises what it raises, or StoreError."""
        ...

    def close(self) -> None: ...

"""What every database makes of a transaction: a value, an error of its own, or StoreError."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection, Engine

Function = Callable[[Connection], Any]


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
    """One kind of database. ``threads`` may write at once, ``max_batch`` functions in one commit.

    ``shared``: whether other servers may work on it. ``reads_wait``: whether a look-up takes long
    enough to be kept out of the event loop.
    """

    engine: Engine
    threads: int
    max_batch: int
    shared: bool
    reads_wait: bool

    def write(self, functions: Sequence[Function]) -> list[Outcome]:
        """Run ``functions``, commit. Raises StoreError if that was not committed."""
        ...

    def read(self, function: Function) -> Any:
        """Run ``function`` on a snapshot. Raises what it raises, or StoreError."""
        ...

    def settled(self, table: str, column: str) -> int | None:
        """Up to which number of ``column`` nothing new can appear; None: nothing can below any.

        Raises StoreError.
        """
        ...

    def close(self) -> None: ...

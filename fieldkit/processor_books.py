"""What the simulated processor's own books say about a payment: the last word on money.

Read with a query of its own, so that a mistake of the server's code cannot hide itself here.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FILE_NAME: Final = "processor.sqlite3"
_QUERY: Final = (
    "SELECT state, currency, authorized_minor, captured_minor FROM charges"
    " WHERE payment = ? ORDER BY reference"
)


@dataclass(frozen=True, slots=True)
class Charge:
    """One charge. ``state``: ``held``, ``captured`` or ``voided``."""

    state: str
    currency: str
    authorized_minor: int
    captured_minor: int


def charges(server_state: Path, payment: str) -> list[Charge]:
    """Every charge of ``payment`` that the processor has booked. Raises sqlite3.Error."""
    books = sqlite3.connect(f"file:{server_state / FILE_NAME}?mode=ro", uri=True)
    try:
        return [Charge(*row) for row in books.execute(_QUERY, (payment,))]
    finally:
        books.close()

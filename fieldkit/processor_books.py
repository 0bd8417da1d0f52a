"""What the simulated processor's own books say about a payment: the last word on money.

Read with a query of its own, so that a mistake of the server's code cannot hide itself here. Where
the server is elsewhere: ``python -m fieldkit.processor_books STATE PAYMENT`` prints them as JSON.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from dataclasses import astuple, dataclass
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


def printed(text: str) -> list[Charge]:
    """The charges that this module printed as a program. Raises ValueError, TypeError."""
    return [Charge(*row) for row in json.loads(text)]


if __name__ == "__main__":
    print(json.dumps([astuple(charge) for charge in charges(Path(sys.argv[1]), sys.argv[2])]))

"""The books of the simulated processor: its own SQLite file, which the server never writes.

What a processor does with an order is decided here, in one transaction with the entry of the
idempotency key. The auditor compares these books with the server's database.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from server.processors.port import (
    Approved,
    CaptureOrder,
    ChargeOrder,
    KeyConflictError,
    Order,
    Outcome,
    Refused,
    VoidOrder,
)
from twochannel.protocol.payment import CaptureMode

#: Test payment methods, named after what they do.
TOKEN_SUCCESS: Final = "tok_success"  # noqa: S105
TOKEN_DECLINE: Final = "tok_decline"  # noqa: S105
TOKEN_HANG: Final = "tok_hang"  # noqa: S105
TOKEN_LOST_ANSWER: Final = "tok_lost_answer"  # noqa: S105
TEST_TOKENS: Final = frozenset({TOKEN_SUCCESS, TOKEN_DECLINE, TOKEN_HANG, TOKEN_LOST_ANSWER})

_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE charges (
  reference TEXT PRIMARY KEY,
  payment TEXT NOT NULL,
  token TEXT NOT NULL,
  currency TEXT NOT NULL,
  authorized_minor INTEGER NOT NULL
    CHECK (typeof(authorized_minor) = 'integer' AND authorized_minor > 0),
  captured_minor INTEGER NOT NULL
    CHECK (typeof(captured_minor) = 'integer' AND captured_minor BETWEEN 0 AND authorized_minor),
  state TEXT NOT NULL CHECK (state IN ('held', 'captured', 'voided'))
);
CREATE TABLE operations (
  idempotency_key TEXT PRIMARY KEY,
  operation TEXT NOT NULL CHECK (operation IN ('charge', 'capture', 'void')),
  content TEXT NOT NULL,
  reference TEXT REFERENCES charges,
  amount_minor INTEGER CHECK (typeof(amount_minor) IN ('integer', 'null')),
  reason TEXT,
  CHECK ((reference IS NULL) = (amount_minor IS NULL)),
  CHECK ((reference IS NULL) <> (reason IS NULL))
);
"""
_OPERATIONS: Final = {ChargeOrder: "charge", CaptureOrder: "capture", VoidOrder: "void"}


class BooksError(Exception):
    """The file of the books cannot be used. The text says what to do next."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An outcome in the books; ``fresh`` when this very call made it."""

    outcome: Outcome
    fresh: bool


class Books:
    """One connection to the books. Not for two threads at once."""

    def __init__(self, path: Path) -> None:
        """Open ``path``, made when absent. Raises BooksError for a version it does not know."""
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):
            self._db.close()
            raise BooksError(f"{path} has version {version}; use the release that wrote it")
        if version == 0:
            script = f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;"
            self._db.executescript(script)

    def close(self) -> None:
        self._db.close()

    def enter(self, orders: Sequence[Order]) -> list[Entry | KeyConflictError]:
        """Carry ``orders`` out, each once, in one transaction; the same again, the same outcome.

        KeyConflictError in the place of one whose key stands for another order.
        """
        self._db.execute("BEGIN IMMEDIATE")
        try:
            entries = [self._enter(order) for order in orders]
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
        return entries

    def find(self, idempotency_key: str) -> Outcome | None:
        """The outcome under this key, or None."""
        row = self._db.execute(
            "SELECT reference, amount_minor, reason FROM operations WHERE idempotency_key = ?",
            (idempotency_key,),
        ).fetchone()
        return _outcome(*row) if row else None

    def _enter(self, order: Order) -> Entry | KeyConflictError:
        content = json.dumps(asdict(order), sort_keys=True)
        row = self._db.execute(
            "SELECT content FROM operations WHERE idempotency_key = ?", (order.idempotency_key,)
        ).fetchone()
        if row and row[0] != content:
            return KeyConflictError(f"key {order.idempotency_key} stands for another order")
        if known := self.find(order.idempotency_key):
            return Entry(known, fresh=False)
        outcome = self._decide(order)
        self._note(order, content, outcome)
        return Entry(outcome, fresh=True)

    def _note(self, order: Order, content: str, outcome: Outcome) -> None:
        match outcome:
            case Approved(reference, amount_minor):
                columns: tuple[object, ...] = (reference, amount_minor, None)
            case Refused(reason):
                columns = (None, None, reason)
        self._db.execute(
            "INSERT INTO operations VALUES (?, ?, ?, ?, ?, ?)",
            (order.idempotency_key, _OPERATIONS[type(order)], content, *columns),
        )

    def _decide(self, order: Order) -> Outcome:
        match order:
            case ChargeOrder():
                return self._charge(order)
            case CaptureOrder():
                return self._capture(order)
            case VoidOrder():
                return self._void(order)

    def _charge(self, order: ChargeOrder) -> Outcome:
        if order.token not in TEST_TOKENS:
            return Refused("token_unknown")
        if order.token == TOKEN_DECLINE:
            return Refused("card_declined")
        taken = order.capture is CaptureMode.AUTOMATIC
        last = self._db.execute("SELECT coalesce(max(rowid), 0) FROM charges").fetchone()[0]
        reference = f"sim_{last + 1:08d}"
        self._db.execute(
            "INSERT INTO charges VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                reference,
                order.payment,
                order.token,
                order.currency,
                order.amount_minor,
                order.amount_minor if taken else 0,
                "captured" if taken else "held",
            ),
        )
        return Approved(reference, order.amount_minor)

    def _capture(self, order: CaptureOrder) -> Outcome:
        hold = self._hold(order.reference)
        if isinstance(hold, Refused):
            return hold
        authorized_minor, currency = hold
        if currency != order.currency:
            return Refused("currency_differs")
        if not 0 < order.amount_minor <= authorized_minor:
            return Refused("amount_exceeded")
        self._db.execute(
            "UPDATE charges SET state = 'captured', captured_minor = ? WHERE reference = ?",
            (order.amount_minor, order.reference),
        )
        return Approved(order.reference, order.amount_minor)

    def _void(self, order: VoidOrder) -> Outcome:
        hold = self._hold(order.reference)
        if isinstance(hold, Refused):
            return hold
        self._db.execute(
            "UPDATE charges SET state = 'voided' WHERE reference = ?", (order.reference,)
        )
        return Approved(order.reference, hold[0])

    def _hold(self, reference: str) -> tuple[int, str] | Refused:
        row = self._db.execute(
            "SELECT authorized_minor, currency, state FROM charges WHERE reference = ?",
            (reference,),
        ).fetchone()
        if row is None:
            return Refused("charge_unknown")
        authorized_minor, currency, state = row
        return (authorized_minor, currency) if state == "held" else Refused(f"charge_{state}")


def _outcome(reference: str | None, amount_minor: int | None, reason: str | None) -> Outcome:
    if reference is not None and amount_minor is not None:
        return Approved(reference, amount_minor)
    return Refused(str(reason))

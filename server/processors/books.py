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
    RefundOrder,
    Refused,
    VoidOrder,
)
from twochannel.protocol.payment import CaptureMode

#: Test payment methods, named after what they do.
TOKEN_SUCCESS: Final = "tok_success"  # noqa: S105
TOKEN_DECLINE: Final = "tok_decline"  # noqa: S105
TOKEN_HANG: Final = "tok_hang"  # noqa: S105
TOKEN_LOST_ANSWER: Final = "tok_lost_answer"  # noqa: S105
TOKEN_REFUND_REFUSED: Final = "tok_refund_refused"  # noqa: S105
TOKEN_REFUND_LOST_ANSWER: Final = "tok_refund_lost_answer"  # noqa: S105
TEST_TOKENS: Final = frozenset(
    {
        TOKEN_SUCCESS,
        TOKEN_DECLINE,
        TOKEN_HANG,
        TOKEN_LOST_ANSWER,
        TOKEN_REFUND_REFUSED,
        TOKEN_REFUND_LOST_ANSWER,
    }
)

_VERSION: Final = 2
_CHARGES: Final = """
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
"""
_REFUNDS_AND_OPERATIONS: Final = """
CREATE TABLE refunds (
  reference TEXT PRIMARY KEY,
  charge TEXT NOT NULL REFERENCES charges,
  payment TEXT NOT NULL,
  currency TEXT NOT NULL,
  amount_minor INTEGER NOT NULL CHECK (typeof(amount_minor) = 'integer' AND amount_minor > 0)
);
CREATE TABLE operations (
  idempotency_key TEXT PRIMARY KEY,
  operation TEXT NOT NULL CHECK (operation IN ('charge', 'capture', 'void', 'refund')),
  content TEXT NOT NULL,
  reference TEXT,
  amount_minor INTEGER CHECK (typeof(amount_minor) IN ('integer', 'null')),
  reason TEXT,
  CHECK ((reference IS NULL) = (amount_minor IS NULL)),
  CHECK ((reference IS NULL) <> (reason IS NULL))
);
"""
#: What makes books of this version from nothing, and from version 1, which knew no refunds.
_STEPS: Final = {
    0: (_CHARGES, _REFUNDS_AND_OPERATIONS),
    1: (
        "ALTER TABLE operations RENAME TO operations_1;",
        _REFUNDS_AND_OPERATIONS,
        "INSERT INTO operations SELECT * FROM operations_1; DROP TABLE operations_1;",
    ),
}
_OPERATIONS: Final = {
    ChargeOrder: "charge",
    CaptureOrder: "capture",
    VoidOrder: "void",
    RefundOrder: "refund",
}


class BooksError(Exception):
    """The file of the books cannot be used. The text says what to do next."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An outcome in the books; ``fresh`` when this very call made it. ``token``: of its charge."""

    outcome: Outcome
    fresh: bool
    token: str | None


class Books:
    """One connection to the books. Not for two threads at once."""

    def __init__(self, path: Path) -> None:
        """Open ``path``, made when absent. Raises BooksError for a version it does not know."""
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version != _VERSION and version not in _STEPS:
            self._db.close()
            raise BooksError(f"{path} has version {version}; use the release that wrote it")
        if version != _VERSION:
            steps = " ".join(_STEPS[version])
            script = f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {_VERSION}; COMMIT;"
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
            return Entry(known, False, self._token(order))
        outcome = self._decide(order)
        self._note(order, content, outcome)
        return Entry(outcome, True, self._token(order))

    def _token(self, order: Order) -> str | None:
        if isinstance(order, ChargeOrder):
            return order.token
        row = self._db.execute(
            "SELECT token FROM charges WHERE reference = ?", (order.reference,)
        ).fetchone()
        return str(row[0]) if row else None

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
            case RefundOrder():
                return self._refund(order)

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
        """Of a hold that was released already: what was wanted is the case."""
        hold = self._hold(order.reference)
        if isinstance(hold, Refused):
            released = self._db.execute(
                "SELECT authorized_minor FROM charges WHERE reference = ? AND state = 'voided'",
                (order.reference,),
            ).fetchone()
            return Approved(order.reference, released[0]) if released else hold
        self._db.execute(
            "UPDATE charges SET state = 'voided' WHERE reference = ?", (order.reference,)
        )
        return Approved(order.reference, hold[0])

    def _refund(self, order: RefundOrder) -> Outcome:
        row = self._db.execute(
            "SELECT token, currency, captured_minor,"
            " (SELECT coalesce(sum(amount_minor), 0) FROM refunds r WHERE r.charge = c.reference),"
            " (SELECT coalesce(max(rowid), 0) FROM refunds) FROM charges c WHERE c.reference = ?",
            (order.reference,),
        ).fetchone()
        if row is None:
            return Refused("charge_unknown")
        token, currency, captured_minor, refunded_minor, last = row
        if token == TOKEN_REFUND_REFUSED:
            return Refused("refund_refused")
        if currency != order.currency:
            return Refused("currency_differs")
        if not 0 < order.amount_minor <= captured_minor - refunded_minor:
            return Refused("amount_exceeded")
        reference = f"simr_{last + 1:08d}"
        self._db.execute(
            "INSERT INTO refunds VALUES (?, ?, ?, ?, ?)",
            (reference, order.reference, order.payment, currency, order.amount_minor),
        )
        return Approved(reference, order.amount_minor)

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

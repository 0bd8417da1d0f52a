"""What the terminal means to do, on disk before it is sent (SQLite).

A payment request, a capture, a cancel or a refund is stored first and then sent. After a crash it
is sent again as it was: the server knows it by its id. One transaction for each change; methods
may be called from any thread.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from twochannel.database import Database
from twochannel.protocol.envelope import unverified_claims
from twochannel.protocol.statements import Cancel, Capture, PaymentRequest, Refund

FILE_NAME: Final = "intents.sqlite3"
SCHEMA_VERSION: Final = 2
#: Version 2 added ``changes``: a file of version 1 gets it when it is opened.
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS payments (
  payment TEXT PRIMARY KEY, reference TEXT NOT NULL, request TEXT NOT NULL,
  lane_nonce BLOB NOT NULL, phase TEXT NOT NULL, code TEXT, answer TEXT, legs TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS payments_by_reference ON payments (reference);
CREATE INDEX IF NOT EXISTS payments_by_phase ON payments (phase);
CREATE TABLE IF NOT EXISTS operations (
  statement TEXT PRIMARY KEY, payment TEXT NOT NULL REFERENCES payments (payment),
  kind TEXT NOT NULL, compact TEXT NOT NULL, phase TEXT NOT NULL, code TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS operations_by_phase ON operations (phase);
CREATE INDEX IF NOT EXISTS operations_by_payment ON operations (payment);
CREATE TABLE IF NOT EXISTS changes (
  revision INTEGER PRIMARY KEY AUTOINCREMENT,
  payment TEXT NOT NULL UNIQUE REFERENCES payments (payment)
) STRICT;
"""


class Phase(StrEnum):
    """How far a payment is, seen from here.

    ``stored``: on disk; the server may or may not have it. ``pending``: the server has it, nobody
    has decided. ``processing``: decided, the card processor's answer is not known.
    ``settled``: over, with a verified receipt. ``refused``: the server refused the request, there
    is no payment. ``lapsed``: it expired before the server had it; it can never become a payment.
    ``unverified``: over, says the server, but its receipt proves nothing.
    """

    STORED = "stored"
    PENDING = "pending"
    PROCESSING = "processing"
    SETTLED = "settled"
    REFUSED = "refused"
    LAPSED = "lapsed"
    UNVERIFIED = "unverified"


#: The outcome is still to come.
OPEN: Final = frozenset({Phase.STORED, Phase.PENDING, Phase.PROCESSING})
#: The car is still at the lane and its owner still to decide: the next payment has to wait.
AT_THE_LANE: Final = frozenset({Phase.STORED, Phase.PENDING})
#: No payment came of it: the same reference may be asked for again, under a new payment id.
VOID: Final = frozenset({Phase.REFUSED, Phase.LAPSED})


class Kind(StrEnum):
    """What is done to a payment later; the value is the last part of the server's path."""

    CAPTURE = "captures"
    CANCEL = "cancellation"
    REFUND = "refunds"

    @property
    def noun(self) -> str:
        """One of it, as people are told."""
        return self.value.removesuffix("s")


class OperationPhase(StrEnum):
    STORED = "stored"
    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True)
class Intent:
    """One payment. ``request``: compact; ``code``: why it was refused; ``answer``: the server's
    last; ``legs``: milliseconds of its legs as far as this terminal sees them."""

    payment: str
    request: str
    lane_nonce: bytes
    phase: Phase
    code: str | None
    answer: dict[str, Any] | None
    legs: dict[str, float]

    @cached_property
    def asked(self) -> PaymentRequest:
        """The claims of the request, which this terminal itself has signed."""
        return PaymentRequest.from_claims(unverified_claims(self.request))


@dataclass(frozen=True)
class Operation:
    """A capture, cancel or refund of ``payment``; ``compact`` has the id ``statement``."""

    statement: str
    payment: str
    kind: Kind
    compact: str
    phase: OperationPhase
    code: str | None

    @cached_property
    def claims(self) -> Capture | Cancel | Refund:
        return _MODELS[self.kind].from_claims(unverified_claims(self.compact))


_MODELS: Final[dict[Kind, type[Capture | Cancel | Refund]]] = {
    Kind.CAPTURE: Capture,
    Kind.CANCEL: Cancel,
    Kind.REFUND: Refund,
}
_PAYMENT = "SELECT payment, request, lane_nonce, phase, code, answer, legs FROM payments"
_WITH_REVISION = (
    "SELECT coalesce(revision, 0), payment, request, lane_nonce, phase, code, answer, legs"
    " FROM payments LEFT JOIN changes USING (payment)"
)
#: The outcome is still to come, or an amount is held.
_ACTIVE = (
    "(phase IN ('stored', 'pending', 'processing')"
    " OR (phase = 'settled' AND json_extract(answer, '$.status') = 'authorized'))"
)
#: A payment has one row, of its last change: whoever missed some gets each payment once.
_CHANGED = "INSERT OR REPLACE INTO changes (payment) VALUES (?)"
_OPERATION = "SELECT statement, payment, kind, compact, phase, code FROM operations"


class Intents:
    """An open file of intents."""

    def __init__(self, path: Path, on_change: Callable[[], None] = lambda: None) -> None:
        """Open the file, or make it. Raises DatabaseError.

        ``on_change`` is called after every change, in the thread that made it.
        """
        self._database = Database(path, _SCHEMA, SCHEMA_VERSION)
        self._on_change = on_change

    def close(self) -> None:
        self._database.close()

    @contextmanager
    def _changing(self, payment: str) -> Iterator[sqlite3.Connection]:
        """A transaction that changes ``payment``, and is noted as such."""
        with self._database.transaction() as db:
            yield db
            db.execute(_CHANGED, (payment,))
        self._on_change()

    @property
    def revision(self) -> int:
        """A number that rises with every change."""
        ((revision,),) = self._database.rows("SELECT coalesce(max(revision), 0) FROM changes")
        return int(revision)

    def changed_since(self, revision: int | None) -> list[tuple[int, Intent]]:
        """Payments with their revisions, oldest change first; None: all that are not over."""
        which = _ACTIVE if revision is None else "revision > ?"
        values = () if revision is None else (revision,)
        query = f"{_WITH_REVISION} WHERE {which} ORDER BY 1, payment"
        rows = self._database.rows(query, *values)
        return [(number, _intent(row)) for number, *row in rows]

    # --- payments

    def store(self, payment: str, reference: str, request: str, lane_nonce: bytes) -> None:
        """A new payment, ``stored``. On disk when this returns."""
        with self._changing(payment) as db:
            db.execute(
                "INSERT INTO payments VALUES (?, ?, ?, ?, ?, NULL, NULL, '{}')",
                (payment, reference, request, lane_nonce, Phase.STORED.value),
            )

    def sign_again(self, payment: str, request: str) -> None:
        """Replace the request, which the server has refused for its time and does not hold."""
        with self._changing(payment) as db:
            db.execute("UPDATE payments SET request = ? WHERE payment = ?", (request, payment))

    def learn(
        self, payment: str, phase: Phase, answer: dict[str, Any], legs: dict[str, float]
    ) -> None:
        """What the server said last."""
        with self._changing(payment) as db:
            db.execute(
                "UPDATE payments SET phase = ?, code = NULL, answer = ?, legs = ?"
                " WHERE payment = ?",
                (phase.value, json.dumps(answer), json.dumps(legs), payment),
            )

    def close_without(self, payment: str, phase: Phase, code: str | None = None) -> None:
        """It ended in ``phase`` without an outcome to believe, because of ``code``."""
        with self._changing(payment) as db:
            db.execute(
                "UPDATE payments SET phase = ?, code = ? WHERE payment = ?",
                (phase.value, code, payment),
            )

    def find(self, payment: str) -> Intent | None:
        rows = self._database.rows(f"{_PAYMENT} WHERE payment = ?", payment)
        return _intent(rows[0]) if rows else None

    def get(self, payment: str) -> Intent:
        """A payment that is known to be there. Raises KeyError."""
        intent = self.find(payment)
        if intent is None:
            raise KeyError(payment)
        return intent

    def find_reference(self, reference: str) -> Intent | None:
        """The payment of a till's reference; the newest, if it was asked for again."""
        rows = self._database.rows(
            f"{_PAYMENT} WHERE reference = ? ORDER BY payment DESC LIMIT 1", reference
        )
        return _intent(rows[0]) if rows else None

    def in_phases(self, phases: frozenset[Phase]) -> list[Intent]:
        """Payments in any of ``phases``, oldest first (ids of version 7 sort by time)."""
        marks = ", ".join("?" * len(phases))
        rows = self._database.rows(
            f"{_PAYMENT} WHERE phase IN ({marks}) ORDER BY payment", *(p.value for p in phases)
        )
        return [_intent(row) for row in rows]

    def newest(
        self, limit: int, *, reference: str | None = None, active: bool = False
    ) -> list[Intent]:
        """At most ``limit`` payments, newest first; of a till's reference; not over yet."""
        rows = self._database.rows(
            f"{_PAYMENT} WHERE (? IS NULL OR reference = ?) AND (NOT ? OR {_ACTIVE})"
            " ORDER BY payment DESC LIMIT ?",
            reference,
            reference,
            active,
            limit,
        )
        return [_intent(row) for row in rows]

    # --- operations

    def store_operation(self, operation: Operation) -> None:
        """A new capture, cancel or refund. On disk when this returns."""
        with self._changing(operation.payment) as db:
            db.execute(
                "INSERT INTO operations VALUES (?, ?, ?, ?, ?, ?)",
                (
                    operation.statement,
                    operation.payment,
                    operation.kind.value,
                    operation.compact,
                    operation.phase.value,
                    operation.code,
                ),
            )

    def sign_operation_again(self, statement: str, compact: str) -> None:
        """Replace a statement that the server has refused for its time and does not hold."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE operations SET compact = ? WHERE statement = ?", (compact, statement)
            )

    def close_operation(
        self, statement: str, phase: OperationPhase, code: str | None = None
    ) -> None:
        with self._changing(self.get_operation(statement).payment) as db:
            db.execute(
                "UPDATE operations SET phase = ?, code = ? WHERE statement = ?",
                (phase.value, code, statement),
            )

    def get_operation(self, statement: str) -> Operation:
        """An operation that is known to be there. Raises KeyError."""
        rows = self._database.rows(f"{_OPERATION} WHERE statement = ?", statement)
        if not rows:
            raise KeyError(statement)
        return _operation(rows[0])

    def find_refund(self, payment: str, reference: str) -> Operation | None:
        """The refund of this reference, unless it was refused."""
        query = f"{_OPERATION} WHERE payment = ? AND kind = ? AND phase <> ? ORDER BY statement"
        named = (payment, Kind.REFUND.value, OperationPhase.REFUSED.value)
        for operation in (_operation(row) for row in self._database.rows(query, *named)):
            claims = operation.claims
            if isinstance(claims, Refund) and claims.reference == reference:
                return operation
        return None

    def operations(self, payment: str) -> list[Operation]:
        """All that was ever asked for of a payment, oldest first."""
        query = f"{_OPERATION} WHERE payment = ? ORDER BY statement"
        return [_operation(row) for row in self._database.rows(query, payment)]

    def open_operations(self, payment: str | None = None) -> list[Operation]:
        """Operations whose outcome is not known, oldest first; of one payment, or of all."""
        query = f"{_OPERATION} WHERE phase = 'stored' ORDER BY statement"
        operations = [_operation(row) for row in self._database.rows(query)]
        return [o for o in operations if payment in (None, o.payment)]


def _intent(row: Sequence[Any]) -> Intent:
    payment, request, lane_nonce, phase, code, answer, legs = row
    told = json.loads(answer) if answer is not None else None
    return Intent(payment, request, lane_nonce, Phase(phase), code, told, json.loads(legs))


def _operation(row: tuple[Any, ...]) -> Operation:
    statement, payment, kind, compact, phase, code = row
    return Operation(statement, payment, Kind(kind), compact, OperationPhase(phase), code)

"""The payments that this phone was asked for, and its answers: kept before they are sent."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from phone_agent.consent import Answer, Reason
from phone_agent.database import Database, put_fact
from twochannel.protocol.errors import ErrorCode, PaymentError
from twochannel.protocol.payment import TRANSITIONS, Status
from twochannel.protocol.statements import DecidedBy, Decision

_NOTHING_PAID: Final = frozenset(
    {Status.DECLINED, Status.EXPIRED, Status.CANCELED, Status.REFUSED, Status.VOIDED}
)
_COLUMNS: Final = (
    "id, jack, challenge, received_ms, decision, decided_by, reason, confirmation, closed, shown"
)


@dataclass(frozen=True, slots=True)
class KeptPayment:
    """A payment as this phone has seen it.

    ``challenge``, ``confirmation``: compact statements. ``answer``: decided, and perhaps sent.
    ``closed``: None while something is left to do, else in a word why nothing is.
    ``shown``: the payment as the server last showed it.
    """

    id: str
    jack: str
    challenge: str
    received_ms: int
    answer: Answer | None
    confirmation: str | None
    closed: str | None
    shown: dict[str, Any]


class Ledger:
    """The rule of this file: a payment has one answer, and the first one on disk is it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last_event_id(self) -> str | None:
        """The server's last event that was taken in wholly."""
        return self._database.fact("last_event_id")

    def keep_event(self, event_id: str) -> None:
        """An event that changes nothing here."""
        with self._database.transaction() as db:
            _keep_event(db, event_id)

    def keep_challenge(
        self,
        payment: dict[str, Any],
        jack: str,
        challenge: str,
        *,
        received_ms: int,
        event_id: str,
    ) -> bool:
        """Store a verified challenge and the event that brought it.

        False if the payment is here already: then its first challenge stays.
        """
        with self._database.transaction() as db:
            _keep_event(db, event_id)
            added = db.execute(
                "INSERT OR IGNORE INTO payments (id, jack, challenge, received_ms, shown)"
                " VALUES (?, ?, ?, ?, ?)",
                (payment["id"], jack, challenge, received_ms, json.dumps(payment)),
            )
            return added.rowcount == 1

    def keep_shown(self, payment: dict[str, Any], *, event_id: str = "") -> bool:
        """Store what the server shows of a payment. True if its status is news.

        The answer to a confirmation and the event of the next step race each other: what is
        older than what was shown before changes nothing.
        """
        with self._database.transaction() as db:
            _keep_event(db, event_id)
            kept = _find(db, str(payment.get("id")))
            if kept is None or not _may_follow(kept.shown, payment):
                return False
            db.execute("UPDATE payments SET shown = ? WHERE id = ?", (json.dumps(payment), kept.id))
            return bool(kept.shown.get("status") != payment.get("status"))

    def keep_answer(self, payment: str, answer: Answer, confirmation: str) -> None:
        """Store the answer before it is sent.

        Raises PaymentError: ``payment_state`` if there is an answer or it is too late for one,
        ``payment_unknown``.
        """
        with self._database.transaction() as db:
            check_unanswered(_get(db, payment))
            db.execute(
                "UPDATE payments SET decision = ?, decided_by = ?, reason = ?, confirmation = ?"
                " WHERE id = ?",
                (*map(str, (answer.decision, answer.decided_by, answer.reason)),
                 confirmation, payment),
            )  # fmt: skip

    def keep_signed_again(self, payment: str, confirmation: str) -> None:
        """Store the same answer with another time in it; the server has refused the old one."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE payments SET confirmation = ?"
                " WHERE id = ? AND confirmation IS NOT NULL AND closed IS NULL",
                (confirmation, payment),
            )

    def close_payment(self, payment: str, why: str) -> None:
        """Nothing is left to do. A payment that is closed stays closed for its first reason."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE payments SET closed = coalesce(closed, ?) WHERE id = ?", (why, payment)
            )

    def payment(self, payment: str) -> KeptPayment:
        """Raises PaymentError (``payment_unknown``)."""
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM payments WHERE id = ?", payment)  # noqa: S608
        return _known(_read(rows[0]) if rows else None)

    def payments(self, limit: int = 50) -> list[KeptPayment]:
        """The newest first."""
        query = f"SELECT {_COLUMNS} FROM payments ORDER BY received_ms DESC, id DESC LIMIT ?"  # noqa: S608
        return [_read(row) for row in self._database.rows(query, limit)]

    def open_payments(self) -> list[KeptPayment]:
        """Those with something left to do, the oldest first."""
        query = f"SELECT {_COLUMNS} FROM payments WHERE closed IS NULL ORDER BY received_ms, id"  # noqa: S608
        return [_read(row) for row in self._database.rows(query)]

    def approved_alone_minor(self, currency: str, since_ms: int) -> int:
        """What was approved without the owner since then and was paid, is held, or may yet be."""
        rows = self._database.rows(
            "SELECT coalesce(json_extract(shown, '$.captured_minor'), 0),"
            " json_extract(shown, '$.amount.value'), json_extract(shown, '$.status') FROM payments"
            " WHERE decision = ? AND decided_by = ? AND received_ms > ?"
            " AND json_extract(shown, '$.amount.currency') = ?",
            *(Decision.APPROVE.value, DecidedBy.POLICY.value, since_ms, currency),
        )
        return sum(taken or asked for taken, asked, status in rows if status not in _NOTHING_PAID)

    def merchant_names(self) -> dict[str, str]:
        """Registered names, by id, of the merchants that have asked for a payment."""
        return dict(
            self._database.rows(
                "SELECT json_extract(shown, '$.merchant.id') AS merchant,"
                " json_extract(shown, '$.merchant.name') FROM payments"
                " WHERE merchant IS NOT NULL ORDER BY received_ms"
            )
        )


def _keep_event(db: sqlite3.Connection, event_id: str) -> None:
    if event_id:
        put_fact(db, "last_event_id", event_id)


def _may_follow(shown: dict[str, Any], payment: dict[str, Any]) -> bool:
    """Whether the life cycle leads from the one status to the other."""
    try:
        target = Status(payment["status"])
        reached = {Status(shown["status"])}
    except (KeyError, ValueError):
        return False
    while target not in reached:
        following = {after for (state, _), after in TRANSITIONS.items() if state in reached}
        if following <= reached:
            return False
        reached |= following
    return True


def _find(db: sqlite3.Connection, payment: str) -> KeptPayment | None:
    row = db.execute(f"SELECT {_COLUMNS} FROM payments WHERE id = ?", (payment,)).fetchone()  # noqa: S608
    return _read(row) if row else None


def _get(db: sqlite3.Connection, payment: str) -> KeptPayment:
    return _known(_find(db, payment))


def _known(kept: KeptPayment | None) -> KeptPayment:
    if kept is None:
        raise PaymentError(ErrorCode.PAYMENT_UNKNOWN, "this phone was not asked for that payment")
    return kept


def check_unanswered(kept: KeptPayment) -> None:
    """Raises PaymentError (``payment_state``) if there is an answer or it is too late for one."""
    if kept.answer is not None:
        raise PaymentError(
            ErrorCode.PAYMENT_STATE,
            f"the payment has its answer already ({kept.answer.decision} by"
            f" {kept.answer.decided_by}); an answer cannot be changed",
        )
    if kept.closed is not None:
        raise PaymentError(ErrorCode.PAYMENT_STATE, f"it is too late: the payment is {kept.closed}")


def _read(row: Sequence[Any]) -> KeptPayment:
    payment, jack, challenge, received_ms, *decided, confirmation, closed, shown = row
    decision, decided_by, reason = decided
    answer = Answer(Decision(decision), DecidedBy(decided_by), Reason(reason)) if decision else None
    return KeptPayment(
        payment, jack, challenge, received_ms, answer, confirmation, closed, json.loads(shown)
    )

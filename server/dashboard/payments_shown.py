"""Payments as the dashboard lists them: newest first, and what was searched for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Connection, select

from server.schema.parties import jacks, merchants, pairings, phones, terminals
from server.schema.payments import payments, statements
from twochannel.pages.tones import Tone
from twochannel.protocol.payment import Status
from twochannel.protocol.statements import (
    AuthCode,
    Challenge,
    Confirmation,
    PaymentRequest,
    Receipt,
)

PAGE: Final = 20
#: Of what a search finds; who needs more asks for less.
FOUND: Final = 50
#: The five statements in their order: what each is called, and who signs it.
CHAIN: Final = (
    (PaymentRequest.TYP, "Request", "terminal"),
    (Challenge.TYP, "Challenge", "server"),
    (AuthCode.TYP, "Auth code", "jack"),
    (Confirmation.TYP, "Confirmation", "phone"),
    (Receipt.TYP, "Receipt", "server"),
)
#: What a state is called here, and how it looks.
STATES: Final[dict[Status, tuple[str, Tone]]] = {
    Status.PENDING: ("Waiting for the owner", Tone.WAITING),
    Status.CONFIRMED: ("At the processor", Tone.WAITING),
    Status.UNKNOWN: ("Outcome unknown", Tone.BAD),
    Status.AUTHORIZED: ("Held", Tone.WAITING),
    Status.CAPTURED: ("Paid", Tone.GOOD),
    Status.DECLINED: ("Declined", Tone.CALM),
    Status.EXPIRED: ("Expired", Tone.CALM),
    Status.CANCELED: ("Canceled", Tone.CALM),
    Status.REFUSED: ("Refused", Tone.BAD),
    Status.VOIDED: ("Released", Tone.CALM),
}
#: Of a thumbprint, as it is shown: shorter ones would find too much.
_SHORTEST_ID: Final = 6
_ID: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Shown:
    """One payment in a list. ``lit``: the ``typ`` of the statements that are there."""

    row: Any
    lit: frozenset[str]

    @property
    def state(self) -> str:
        return STATES[Status(self.row.status)][0]

    @property
    def tone(self) -> Tone:
        return STATES[Status(self.row.status)][1]

    @property
    def over(self) -> bool:
        """Nothing more is to come of its own."""
        return Status(self.row.status) not in (Status.PENDING, Status.CONFIRMED, Status.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Listed:
    """``older``: where the next page begins, None if there is none."""

    items: list[Shown]
    older: int | None


def newest(connection: Connection, before: int | None = None) -> Listed:
    """A page, in the order in which requests were accepted, whatever the terminals' clocks say."""
    opened = select(statements.c.seq, statements.c.payment_id).where(statements.c.position == 1)
    if before is not None:
        opened = opened.where(statements.c.seq < before)
    rows = connection.execute(opened.order_by(statements.c.seq.desc()).limit(PAGE + 1)).all()
    ids = [row.payment_id for row in rows[:PAGE]]
    found = {row.id: row for row in connection.execute(_of(payments.c.id, ids))}
    older = rows[PAGE - 1].seq if len(rows) > PAGE else None
    return Listed(_with_statements(connection, [found[each] for each in ids]), older)


def one(connection: Connection, row: Any) -> Shown:
    return _with_statements(connection, [row])[0]


def search(connection: Connection, text: str) -> list[Shown]:
    """Payments by id, by a merchant's reference, or of a terminal, phone, jack or merchant.

    ``text``: all of an id or reference, the first signs of a thumbprint (6 or more), or a part of
    a merchant's name. Each way in has an index, so that a long history does not make it slow.
    """
    places: list[ColumnElement[bool]] = [payments.c.id == text.lower()]
    all_lanes = select(terminals.c.id)
    places.append(payments.c.terminal_id.in_(all_lanes) & (payments.c.reference == text))
    if len(text) >= _SHORTEST_ID and _ID.fullmatch(text):
        places += _of_devices(connection, text)
    sold = select(merchants.c.id).where(
        (merchants.c.id == text) | merchants.c.name.icontains(text, autoescape=True)
    )
    lanes = select(terminals.c.id).where(terminals.c.merchant_id.in_(sold))
    places.append(payments.c.terminal_id.in_(lanes))
    newest_first = payments.c.created_ms.desc(), payments.c.id.desc()
    found: dict[str, Any] = {}
    for place in places:
        query = select(payments).where(place).order_by(*newest_first).limit(FOUND)
        found |= {row.id: row for row in connection.execute(query)}
    rows = sorted(found.values(), key=lambda row: (row.created_ms, row.id), reverse=True)
    return _with_statements(connection, rows[:FOUND])


def _of_devices(connection: Connection, text: str) -> list[ColumnElement[bool]]:
    """A jack's payments are found through the phones that it was ever paired with."""

    def known(column: Column[Any]) -> list[str]:
        query = select(column).where(column.startswith(text, autoescape=True)).limit(FOUND)
        return list(connection.scalars(query))

    heard = known(jacks.c.id)
    paired = select(pairings.c.phone_id).where(pairings.c.jack_id.in_(heard))
    return [
        payments.c.terminal_id.in_(known(terminals.c.id)),
        payments.c.phone_id.in_(known(phones.c.id)),
        payments.c.phone_id.in_(paired) & payments.c.jack_id.in_(heard),
    ]


def _of(column: Column[Any], ids: Sequence[str]) -> Any:
    return select(payments).where(column.in_(ids))


def _with_statements(connection: Connection, rows: Sequence[Any]) -> list[Shown]:
    query = select(statements.c.payment_id, statements.c.typ).where(
        statements.c.payment_id.in_([row.id for row in rows])
    )
    lit: dict[str, set[str]] = {row.id: set() for row in rows}
    for signed in connection.execute(query):
        lit[signed.payment_id].add(signed.typ)
    return [Shown(row, frozenset(lit[row.id])) for row in rows]

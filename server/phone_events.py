"""What a phone is told: challenges to answer, and what became of its payments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, func, select

from server.kinds import PhoneEventKind
from server.payments import view
from server.prepared import AnyRow, Prepared
from server.schema.notices import phone_events
from server.schema.parties import phones
from server.schema.payments import challenges, payments, statements
from twochannel.protocol.payment import Status

#: Events of one look: bounds what a phone that was away for long makes the server read at once.
MAX_EVENTS: Final = 100


@dataclass(frozen=True, slots=True)
class PhoneEvent:
    """One event: ``seq`` is its id on the wire, ``data`` its JSON."""

    seq: int
    kind: PhoneEventKind
    data: dict[str, object]


#: The place of the owner's challenge in the chain.
_CHALLENGE: Final = 2
_EVENTS = (
    select(
        phone_events.c.seq,
        phone_events.c.kind,
        payments,
        func.coalesce(challenges.c.compact, statements.c.compact).label("compact"),
    )
    .join(payments, payments.c.id == phone_events.c.payment_id)
    .join(
        statements,
        (statements.c.payment_id == payments.c.id) & (statements.c.position == _CHALLENGE),
    )
    .outerjoin(
        challenges,
        (challenges.c.payment_id == payments.c.id)
        & (challenges.c.phone_id == phone_events.c.phone_id),
    )
    .join(phones, phones.c.id == phone_events.c.phone_id)
    .where(phone_events.c.phone_id == bindparam("phone"), phones.c.revoked_ms.is_(None))
    .order_by(phone_events.c.seq)
)
_OPEN = Prepared(
    _EVENTS.where(
        phone_events.c.kind == PhoneEventKind.CHALLENGE.value,
        payments.c.status == Status.PENDING.value,
        challenges.c.withdrawn_ms.is_(None),
    )
)
_AFTER = Prepared(
    _EVENTS.where(
        phone_events.c.seq > bindparam("seq"),
        (phone_events.c.kind == PhoneEventKind.PAYMENT.value)
        | ((payments.c.status == Status.PENDING.value) & challenges.c.withdrawn_ms.is_(None)),
    ).limit(MAX_EVENTS)
)
_NEWEST = Prepared(
    select(func.max(phone_events.c.seq)).where(phone_events.c.phone_id == bindparam("phone"))
)


def open_challenges(connection: Connection, phone_id: str) -> tuple[list[PhoneEvent], int]:
    """What a phone gets that connects anew: its open challenges, and where to go on from."""
    phone = {"phone": phone_id}
    events = [_event(row) for row in _OPEN.all(connection, phone)]
    return events, _NEWEST.scalar(connection, phone) or 0


def events_after(connection: Connection, phone_id: str, seq: int) -> list[PhoneEvent]:
    """The phone's next events after ``seq``; none if it is revoked.

    A challenge that can no longer be answered is left out: what became of it follows.
    """
    rows = _AFTER.all(connection, {"phone": phone_id, "seq": seq})
    return [_event(row) for row in rows]


def _event(row: AnyRow) -> PhoneEvent:
    kind = PhoneEventKind(row.kind)
    data: dict[str, object] = {"payment": view(row)}
    if kind is PhoneEventKind.CHALLENGE:
        data["challenge"] = row.compact
    return PhoneEvent(row.seq, kind, data)

"""Owners as their operator sees them: phones that have or had a jack, or were invited to one."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, select, union

from server.members import count_members, members_of, memberships_of
from server.party_history import count_payments, find_device
from server.payment_list import Page, list_payments
from server.payment_methods import list_payment_methods
from server.phone_events import open_challenges
from server.prepared import AnyRow
from server.schema.parties import (
    instructions,
    jacks,
    memberships,
    pairings,
    payment_methods,
    phones,
)
from server.schema.payments import payment_events, payments
from twochannel.protocol.payment import Event
from twochannel.protocol.statements import Role

#: Payments that are shown at most: of those that are open, and of the newest.
_OPEN: Final = 100
_RECENT: Final = 5

_OWNERS: Final = (
    select(phones.c.id, phones.c.label, phones.c.enrolled_ms, phones.c.revoked_ms)
    .where(phones.c.id.in_(union(select(pairings.c.phone_id), select(memberships.c.phone_id))))
    .order_by(phones.c.enrolled_ms, phones.c.id)
)
_JACK_COUNTS: Final = (
    select(jacks.c.phone_id, func.count().label("number"))
    .where(jacks.c.released_ms.is_(None), jacks.c.revoked_ms.is_(None))
    .group_by(jacks.c.phone_id)
)
_METHOD_COUNTS: Final = (
    select(payment_methods.c.phone_id, func.count().label("number"))
    .where(payment_methods.c.removed_ms.is_(None))
    .group_by(payment_methods.c.phone_id)
)
_other = pairings.alias()
_NEWEST_EPOCH: Final = (
    select(func.max(_other.c.epoch))
    .where(_other.c.jack_id == pairings.c.jack_id, _other.c.phone_id == pairings.c.phone_id)
    .scalar_subquery()
)
_PAIRED_ANEW_MS: Final = (
    select(func.min(_other.c.paired_ms))
    .where(_other.c.jack_id == pairings.c.jack_id, _other.c.epoch > pairings.c.epoch)
    .scalar_subquery()
)
#: Every jack that a phone has or had, by its last pairing with it.
_JACKS: Final = (
    select(
        jacks.c.id,
        jacks.c.released_ms,
        jacks.c.revoked_ms,
        pairings.c.epoch,
        pairings.c.paired_ms,
        _PAIRED_ANEW_MS.label("paired_anew_ms"),
    )
    .join(jacks, jacks.c.id == pairings.c.jack_id)
    .where(pairings.c.phone_id == bindparam("phone"), pairings.c.epoch == _NEWEST_EPOCH)
    .order_by(pairings.c.seq)
)
#: Every membership of a phone, also those that have ended, with the owner of its time.
_MEMBERSHIPS: Final = (
    select(
        memberships.c.id,
        memberships.c.jack_id,
        memberships.c.epoch,
        memberships.c.joined_ms,
        memberships.c.ended_ms,
        phones.c.id.label("owner_id"),
        phones.c.label.label("owner_label"),
        phones.c.revoked_ms.label("owner_revoked_ms"),
    )
    .join(
        pairings,
        (pairings.c.jack_id == memberships.c.jack_id) & (pairings.c.epoch == memberships.c.epoch),
    )
    .join(phones, phones.c.id == pairings.c.phone_id)
    .where(memberships.c.phone_id == bindparam("phone"))
    .order_by(memberships.c.joined_ms, memberships.c.id)
)
#: When a phone decided: until then a payment is its jack's owner's.
_DECIDED_MS: Final = (
    select(func.max(payment_events.c.at_ms))
    .join(payments, payments.c.id == payment_events.c.payment_id)
    .where(
        payments.c.phone_id == bindparam("phone"),
        payment_events.c.event.in_([Event.CONFIRM.value, Event.DECLINE.value]),
    )
)
#: When a phone signed what is kept of it, besides its enrolment and its decisions.
_SIGNED_MS: Final = (
    pairings.c.paired_ms,
    memberships.c.joined_ms,
    payment_methods.c.created_ms,
    instructions.c.at_ms,
)


def list_owners(connection: Connection) -> list[dict[str, Any]]:
    """In the order in which they enrolled, each with how much is in force: of a revoked one
    nothing."""
    counts = {
        "jacks": _counted(connection, _JACK_COUNTS),
        "members": count_members(connection),
        "methods": _counted(connection, _METHOD_COUNTS),
    }
    return [
        dict(row._mapping)
        | {"state": _state(row.revoked_ms)}
        | {
            name: count.get(row.id, 0) if row.revoked_ms is None else 0
            for name, count in counts.items()
        }
        for row in connection.execute(_OWNERS)
    ]


def show_owner(connection: Connection, phone_id: str) -> dict[str, Any]:
    """A phone with its jacks, memberships, methods and newest payments. Raises RegistryError."""
    phone = find_device(connection, Role.PHONE, phone_id)
    return {
        "id": phone.id,
        "label": phone.label,
        "state": _state(phone.revoked_ms),
        "enrolled_ms": phone.enrolled_ms,
        "revoked_ms": phone.revoked_ms,
        "heard_ms": max(phone.enrolled_ms, _heard_ms(connection, phone_id)),
        "jacks": _jacks(connection, phone_id),
        "memberships": _memberships(connection, phone_id),
        "methods": list_payment_methods(connection, phone_id),
        "payments": count_payments(connection, Role.PHONE, phone_id),
        "open_payments": _open_payments(connection, phone_id),
        "recent_payments": _newest(connection, phone_id, Page(limit=_RECENT)),
    }


def _state(revoked_ms: int | None) -> str:
    return "enrolled" if revoked_ms is None else "revoked"


def _counted(connection: Connection, query: Any) -> dict[str, int]:
    return {row.phone_id: row.number for row in connection.execute(query)}


def _heard_ms(connection: Connection, phone_id: str) -> int:
    """When the newest statement came of which the database has the time; 0 without any."""
    phone = {"phone": phone_id}
    signed = (
        select(func.max(at_ms)).where(at_ms.table.c.phone_id == bindparam("phone"))
        for at_ms in _SIGNED_MS
    )
    return max(connection.scalar(query, phone) or 0 for query in (_DECIDED_MS, *signed))


def _jacks(connection: Connection, phone_id: str) -> list[dict[str, Any]]:
    return [_jack(connection, row) for row in connection.execute(_JACKS, {"phone": phone_id})]


def _jack(connection: Connection, row: AnyRow) -> dict[str, Any]:
    state, ended_ms = _jack_state(row)
    members = members_of(connection, row.id) if ended_ms is None else []
    return {
        "jack": row.id,
        "state": state,
        "epoch": row.epoch,
        "paired_ms": row.paired_ms,
        "ended_ms": ended_ms,
        "members": [
            {"phone": member.phone_id, "label": member.label, "joined_ms": member.joined_ms}
            for member in members
        ],
    }


def _jack_state(row: AnyRow) -> tuple[str, int | None]:
    """What has become of a pairing, and when first. Of a jack that was passed on nothing else is
    said: release and revocation are the next owner's."""
    if row.paired_anew_ms is not None:
        return "passed_on", row.paired_anew_ms
    ends = ((row.released_ms, "released"), (row.revoked_ms, "revoked"))
    ended = [(at_ms, state) for at_ms, state in ends if at_ms is not None]
    ended_ms, state = min(ended, default=(None, "owned"))
    return state, ended_ms


def _memberships(connection: Connection, phone_id: str) -> list[dict[str, Any]]:
    lasting = {member.id for member in memberships_of(connection, phone_id)}
    return [
        {
            "jack": row.jack_id,
            "state": _membership_state(row, lasting=row.id in lasting),
            "epoch": row.epoch,
            "joined_ms": row.joined_ms,
            "ended_ms": row.ended_ms,
            "owner": {"phone": row.owner_id, "label": row.owner_label},
        }
        for row in connection.execute(_MEMBERSHIPS, {"phone": phone_id})
    ]


def _membership_state(row: AnyRow, *, lasting: bool) -> str:
    """A member of a revoked owner pays no more (``server.members``)."""
    if not lasting:
        return "ended"
    return "member" if row.owner_revoked_ms is None else "owner_revoked"


def _open_payments(connection: Connection, phone_id: str) -> list[dict[str, Any]]:
    """Those that are not over, and those of other owners' jacks that this phone is asked about."""
    own = _newest(connection, phone_id, Page(limit=_OPEN, active=True))
    challenges, _ = open_challenges(connection, phone_id)
    asked: list[Any] = [challenge.data["payment"] for challenge in challenges]
    found = {one["id"]: one for one in [*own, *map(_without_receipt, asked)]}
    return sorted(found.values(), key=lambda payment: payment["created_ms"], reverse=True)


def _newest(connection: Connection, phone_id: str, page: Page) -> list[dict[str, Any]]:
    items: Any = list_payments(connection, Role.PHONE, phone_id, page)["items"]
    return [_without_receipt(payment) for payment in items]


def _without_receipt(payment: dict[str, Any]) -> dict[str, Any]:
    """Long, and names the processor's charge; `payments show` has it."""
    return {name: value for name, value in payment.items() if name != "receipt"}

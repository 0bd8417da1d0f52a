"""Further phones of a jack: joining, leaving, being removed (docs/protocol.md, Several phones).

A member's membership lasts as long as the pairing of the owner's phone in which it was made. Every
function is a part of a transaction (``server.store``); signatures were verified before.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, insert, select, update

from server.instructions import Signed, admit, repeated
from server.prepared import AnyRow, Prepared
from server.schema.parties import jacks, memberships, phones
from server.schema.payments import challenges, payments
from twochannel.protocol.errors import CodedError, ErrorCode, StatementError
from twochannel.protocol.instructions import MemberRemoval
from twochannel.protocol.statements import Pairing

_JACK: Final = select(jacks).where(jacks.c.id == bindparam("jack"))
#: In force: not ended, and of the pairing that is.
_LASTING: Final = (
    select(
        memberships.c.id,
        memberships.c.jack_id,
        memberships.c.phone_id,
        memberships.c.epoch,
        memberships.c.joined_ms,
        phones.c.label,
    )
    .join(jacks, jacks.c.id == memberships.c.jack_id)
    .join(phones, phones.c.id == memberships.c.phone_id)
    .where(
        memberships.c.ended_ms.is_(None),
        memberships.c.epoch == jacks.c.epoch,
        jacks.c.released_ms.is_(None),
        jacks.c.revoked_ms.is_(None),
        phones.c.revoked_ms.is_(None),
    )
)
_OF_JACK: Final = Prepared(
    _LASTING.where(memberships.c.jack_id == bindparam("jack")).order_by(
        memberships.c.joined_ms, memberships.c.id
    )
)
_ONE: Final = Prepared(
    _LASTING.where(
        memberships.c.jack_id == bindparam("jack"), memberships.c.phone_id == bindparam("phone")
    )
)
_OF_PHONE: Final = _LASTING.where(memberships.c.phone_id == bindparam("phone")).order_by(
    memberships.c.joined_ms, memberships.c.id
)
_COUNTS: Final = _LASTING.with_only_columns(
    jacks.c.phone_id, func.count().label("members")
).group_by(jacks.c.phone_id)
_OWNER_REVOKED: Final = Prepared(
    select(phones.c.revoked_ms)
    .join(jacks, jacks.c.phone_id == phones.c.id)
    .where(jacks.c.id == bindparam("jack"))
)
_KNOWN: Final = select(memberships.c.id).where(memberships.c.id == bindparam("id"))
_END: Final = (
    update(memberships)
    .where(
        memberships.c.jack_id == bindparam("jack"),
        memberships.c.phone_id == bindparam("phone"),
        memberships.c.ended_ms.is_(None),
    )
    .values(ended_ms=bindparam("now_ms"))
)
_WITHDRAW: Final = (
    update(challenges)
    .where(
        challenges.c.phone_id == bindparam("phone"),
        challenges.c.withdrawn_ms.is_(None),
        challenges.c.payment_id.in_(
            select(payments.c.id).where(payments.c.jack_id == bindparam("jack"))
        ),
    )
    .values(withdrawn_ms=bindparam("now_ms"))
)
_PHONE: Final = select(phones.c.label).where(phones.c.id == bindparam("phone"))


def members_of(connection: Connection, jack: str) -> list[AnyRow]:
    """The members of a jack in the order in which they joined: those who are asked and may pay."""
    return _OF_JACK.all(connection, {"jack": jack})


def check_member(connection: Connection, jack: str, phone: str) -> None:
    """The phone is a member now, and the owner's is in force. Raises CodedError.

    ``epoch_outdated``; ``device_revoked``: of the owner's phone.
    """
    pair = {"jack": jack, "phone": phone}
    if _ONE.one_or_none(connection, pair) is None:
        raise CodedError(ErrorCode.EPOCH_OUTDATED, "the phone is no member of this jack")
    if _OWNER_REVOKED.scalar(connection, {"jack": jack}) is not None:
        raise CodedError(ErrorCode.DEVICE_REVOKED)


def memberships_of(connection: Connection, phone: str) -> list[AnyRow]:
    """The jacks of which a phone is a member."""
    return list(connection.execute(_OF_PHONE, {"phone": phone}))


def count_members(connection: Connection) -> dict[str, int]:
    """How many members the jacks of each owner have; owners without any are left out."""
    return {row.phone_id: row.members for row in connection.execute(_COUNTS)}


def newest_membership(connection: Connection, jack: str, phone: str, epoch: int) -> Any:
    """Of a phone in a pairing, in force or not; None if it never was a member in it."""
    query = (
        select(memberships, phones.c.label)
        .join(phones, phones.c.id == memberships.c.phone_id)
        .where(
            memberships.c.jack_id == jack,
            memberships.c.phone_id == phone,
            memberships.c.epoch == epoch,
        )
        .order_by(memberships.c.joined_ms.desc(), memberships.c.id.desc())
        .limit(1)
    )
    return connection.execute(query).one_or_none()


def join(connection: Connection, pairing: Pairing, digest: str, compact: str, now_ms: int) -> None:
    """Store a membership that jack and phone have signed. Raises CodedError, in this order:

    the jack is not paired with the owner whom it names, in this epoch (``epoch_outdated``); its
    word was used before (``statement_replayed``).
    """
    row = connection.execute(_JACK, {"jack": pairing.iss}).one_or_none()
    owned = row is not None and (row.phone_id, row.epoch) == (pairing.owner, pairing.epoch)
    if row is None or not owned or row.released_ms is not None or pairing.sub == pairing.owner:
        raise CodedError(ErrorCode.EPOCH_OUTDATED)
    if connection.scalar(_KNOWN, {"id": pairing.jti}) is not None:
        raise StatementError(ErrorCode.STATEMENT_REPLAYED, "the jack's word was used before")
    end(connection, pairing.iss, pairing.sub, now_ms)
    connection.execute(
        insert(memberships).values(
            id=pairing.jti,
            jack_id=pairing.iss,
            epoch=pairing.epoch,
            phone_id=pairing.sub,
            digest=digest,
            compact=compact,
            joined_ms=now_ms,
        )
    )


def remove_member(
    connection: Connection, signed: Signed[MemberRemoval], now_ms: int
) -> dict[str, object]:
    """End a membership: the phone is asked no more, and what it sends is refused.

    Checks, in this order:

    1. the phone is revoked (``device_revoked``);
    2. the same statement again is answered with the jack as it is now, if it is this phone's still
       (``epoch_outdated``);
    3. time (``clock_skew``, ``statement_expired``);
    4. it is the owner's, in the epoch that is named, and ``phone`` a member (``epoch_outdated``);
    5. a statement id that was used before (``statement_replayed``).
    """
    removal = signed.statement
    if not repeated(connection, signed):
        admit(connection, signed, lambda: _check_removal(connection, removal), now_ms)
        end(connection, removal.sub, removal.phone, now_ms)
    return own_jack(connection, removal.sub, removal.iss)


def _check_removal(connection: Connection, removal: MemberRemoval) -> None:
    row = connection.execute(_JACK, {"jack": removal.sub}).one_or_none()
    owned = row is not None and (row.phone_id, row.epoch) == (removal.iss, removal.epoch)
    pair = {"jack": removal.sub, "phone": removal.phone}
    if not owned or _ONE.one_or_none(connection, pair) is None:
        raise CodedError(ErrorCode.EPOCH_OUTDATED, "that phone is no member of this phone's jack")


def end(connection: Connection, jack: str, phone: str, now_ms: int) -> None:
    """End a membership, if there is one, and let nothing that its jack asked be answered."""
    asked = {"jack": jack, "phone": phone, "now_ms": now_ms}
    if connection.execute(_END, asked).rowcount:
        connection.execute(_WITHDRAW, asked)


def own_jack(connection: Connection, jack: str, phone: str) -> dict[str, object]:
    """A jack as it is now, for who owns it: nobody else is told. Raises CodedError
    (``epoch_outdated``)."""
    row = connection.execute(_JACK, {"jack": jack}).one()
    if row.phone_id != phone:
        raise CodedError(ErrorCode.EPOCH_OUTDATED, "the jack is no longer this phone's")
    return jack_view(connection, row)


def jack_view(connection: Connection, row: Any) -> dict[str, object]:
    """A jack as its owner's phone sees it."""
    label = connection.scalar(_PHONE, {"phone": row.phone_id})
    owner = _phone_view(row.phone_id, str(label), row.paired_ms, owner=True)
    members = members_of(connection, row.id)
    return {
        "jack": row.id,
        "epoch": row.epoch,
        "paired_ms": row.paired_ms,
        "released_ms": row.released_ms,
        "phones": [owner, *(_phone_view(m.phone_id, m.label, m.joined_ms) for m in members)],
    }


def member_view(member: AnyRow, *, released_ms: int | None = None) -> dict[str, object]:
    """A jack as a member sees it: without the other phones."""
    return {
        "jack": member.jack_id,
        "epoch": member.epoch,
        "paired_ms": member.joined_ms,
        "released_ms": released_ms,
        "phones": [_phone_view(member.phone_id, member.label, member.joined_ms)],
    }


def _phone_view(phone: str, label: str, since_ms: int, *, owner: bool = False) -> dict[str, object]:
    return {"phone": phone, "label": label, "owner": owner, "since_ms": since_ms}

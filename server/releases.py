"""Jacks of a phone: listing them, and letting one go.

Every function is a part of a transaction (``server.store``); signatures were verified before.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, bindparam, select, update

from server.instructions import Signed, admit, repeated
from server.members import (
    check_member,
    end,
    jack_view,
    member_view,
    memberships_of,
    newest_membership,
    own_jack,
)
from server.schema.parties import jacks
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.instructions import Release

_FIND: Final = select(jacks).where(jacks.c.id == bindparam("jack"))
_OF_PHONE: Final = (
    select(jacks)
    .where(
        jacks.c.phone_id == bindparam("phone"),
        jacks.c.revoked_ms.is_(None),
        jacks.c.released_ms.is_(None),
    )
    .order_by(jacks.c.paired_ms, jacks.c.id)
)
_RELEASE: Final = update(jacks).where(
    jacks.c.id == bindparam("jack"), jacks.c.phone_id == bindparam("phone")
)


def list_jacks(connection: Connection, phone_id: str) -> list[dict[str, object]]:
    """The jacks that this phone pays with, its own first, in the order of their pairings."""
    own = [jack_view(connection, r) for r in connection.execute(_OF_PHONE, {"phone": phone_id})]
    return own + [member_view(member) for member in memberships_of(connection, phone_id)]


def release_jack(connection: Connection, signed: Signed[Release], now_ms: int) -> dict[str, object]:
    """End a pairing, so that nothing is charged with the jack until it is paired anew; or a
    membership, if the phone is a member.

    Checks, in this order:

    1. the phone is revoked (``device_revoked``);
    2. the same statement again is answered: an owner's with the jack as it is now, if it is theirs
       still (``epoch_outdated``), a member's with the membership that it ended;
    3. time (``clock_skew``, ``statement_expired``);
    4. the jack is this phone's, in the epoch that is named (``epoch_outdated``), and, if the phone
       is a member, its owner's is not revoked (``device_revoked``);
    5. a statement id that was used before (``statement_replayed``).
    """
    release = signed.statement
    if not repeated(connection, signed):
        admit(connection, signed, lambda: _check_paired(connection, release), now_ms)
        owned = {"jack": release.sub, "phone": release.iss, "released_ms": now_ms}
        if connection.execute(_RELEASE, owned).rowcount == 0:
            end(connection, release.sub, release.iss, now_ms)
    left = newest_membership(connection, release.sub, release.iss, release.epoch)
    if left is not None:
        return member_view(left, released_ms=left.ended_ms)
    return own_jack(connection, release.sub, release.iss)


def _check_paired(connection: Connection, release: Release) -> None:
    row = connection.execute(_FIND, {"jack": release.sub}).one_or_none()
    current = row is not None and row.epoch == release.epoch
    if row is None or not current or row.released_ms is not None or row.revoked_ms is not None:
        raise CodedError(ErrorCode.EPOCH_OUTDATED)
    if row.phone_id != release.iss:
        check_member(connection, release.sub, release.iss)

"""Jacks of a phone: listing them, and letting one go.

Every function is a part of a transaction (``server.store``); signatures were verified before.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, select, update

from server.instructions import Signed, admit, repeated
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
_RELEASE: Final = update(jacks).where(jacks.c.id == bindparam("jack"))


def list_jacks(connection: Connection, phone_id: str) -> list[dict[str, object]]:
    """The jacks that this phone pays with, in the order of their pairings."""
    return [_view(row) for row in connection.execute(_OF_PHONE, {"phone": phone_id})]


def release_jack(connection: Connection, signed: Signed[Release], now_ms: int) -> dict[str, object]:
    """End a pairing, so that nothing is charged with the jack until it is paired anew.

    Checks, in this order:

    1. the same statement again is answered with the jack as it is now;
    2. time (``clock_skew``, ``statement_expired``);
    3. the phone is revoked (``device_revoked``);
    4. the jack is this phone's, in the epoch that is named (``epoch_outdated``);
    5. a statement id that was used before (``statement_replayed``).
    """
    release = signed.statement
    if not repeated(connection, signed):
        admit(connection, signed, lambda: _check_paired(connection, release), now_ms)
        connection.execute(_RELEASE, {"jack": release.sub, "released_ms": now_ms})
    return _view(connection.execute(_FIND, {"jack": release.sub}).one())


def _check_paired(connection: Connection, release: Release) -> None:
    row = connection.execute(_FIND, {"jack": release.sub}).one_or_none()
    paired = row is not None and (row.phone_id, row.epoch) == (release.iss, release.epoch)
    if row is None or not paired or row.released_ms is not None or row.revoked_ms is not None:
        raise CodedError(ErrorCode.EPOCH_OUTDATED)


def _view(row: Row[Any]) -> dict[str, object]:
    return {
        "jack": row.id,
        "epoch": row.epoch,
        "paired_ms": row.paired_ms,
        "released_ms": row.released_ms,
    }

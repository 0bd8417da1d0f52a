"""Who is known: merchants, devices and their keys, enrolment codes, revocation.

Every function is a part of a transaction (``server.store``); signatures were verified before.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, Table, bindparam, insert, select, update

from server.prepared import Prepared
from server.schema.parties import (
    enrolment_codes,
    jacks,
    merchants,
    phones,
    terminals,
)
from twochannel.protocol.envelope import check_time, digest
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.keys import Jwk, VerifyingKey
from twochannel.protocol.limits import ENROLMENT_CODE_LIFETIME_S
from twochannel.protocol.statements import Enrolment, Presence, Role

_DEVICES: Final[dict[Role, Table]] = {
    Role.JACK: jacks,
    Role.PHONE: phones,
    Role.TERMINAL: terminals,
}
_REVOKED: Final = {
    role: Prepared(select(table.c.revoked_ms).where(table.c.id == bindparam("device")))
    for role, table in _DEVICES.items()
}


class RegistryError(Exception):
    """The operator asked for something that is not there or already there; the text says what."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A device that holds its key: its answer, and whether it is new here."""

    answer: dict[str, object]
    created: bool


def add_merchant(
    connection: Connection, merchant_id: str, name: str, presence: Presence, at_ms: int
) -> None:
    """Register a merchant. Raises RegistryError if id or name is taken."""
    taken = select(merchants.c.id).where(
        (merchants.c.id == merchant_id) | (merchants.c.name == name)
    )
    if connection.execute(taken).first() is not None:
        raise RegistryError(f"a merchant {merchant_id} or of the name {name!r} is there already")
    connection.execute(
        insert(merchants).values(
            id=merchant_id, name=name, presence=presence.value, created_ms=at_ms
        )
    )


def list_merchants(connection: Connection) -> list[dict[str, Any]]:
    rows = connection.execute(select(merchants).order_by(merchants.c.name))
    return [dict(row._mapping) for row in rows]


def find_merchant(connection: Connection, name_or_id: str) -> Row[Any]:
    """A merchant by its id, else by its name. Raises RegistryError."""
    for column in (merchants.c.id, merchants.c.name):
        row = connection.execute(select(merchants).where(column == name_or_id)).one_or_none()
        if row is not None:
            return row
    raise RegistryError(
        f"there is no merchant {name_or_id!r}; see: cigarjack-server merchants list"
    )


def code_hash(code: str) -> str:
    """How an enrolment code is stored. Codes have 128 random bits, so no salt is needed."""
    return hashlib.sha256(code.encode("ascii")).hexdigest()


def add_enrolment_code(
    connection: Connection,
    code: str,
    role: Role,
    label: str,
    merchant: str | None,
    at_ms: int,
) -> int:
    """Allow one device to enrol with ``code``. Returns when it expires. Raises RegistryError.

    ``label``: a terminal's lane, or the name of a phone. ``merchant``: name or id, of terminals.
    """
    merchant_id = find_merchant(connection, merchant).id if merchant is not None else None
    expires_ms = at_ms + ENROLMENT_CODE_LIFETIME_S * 1000
    connection.execute(
        insert(enrolment_codes).values(
            hash=code_hash(code),
            role=role.value,
            label=label,
            merchant_id=merchant_id,
            expires_ms=expires_ms,
        )
    )
    return expires_ms


def enrol(
    connection: Connection, enrolment: Enrolment, compact: str, server_id: str, now_ms: int
) -> Enrolled:
    """Register the device that signed ``enrolment``. Checks, in this order:

    a device that was revoked (``device_revoked``); the same statement again (answered as before);
    time; the code unknown, used, expired, or for another role (``enrolment_code_refused``); a
    device that has another role (``issuer_wrong``).
    A device that is registered already takes the label and merchant of its new code.
    """
    check_not_revoked(connection, enrolment.role, enrolment.iss)
    code = connection.execute(
        select(enrolment_codes).where(enrolment_codes.c.hash == code_hash(enrolment.code))
    ).one_or_none()
    if code is not None and code.used_digest == digest(compact):
        return Enrolled(_enrolment_answer(connection, enrolment, server_id), created=False)
    check_time(enrolment, now_ms // 1000)
    usable = code is not None and code.used_ms is None and now_ms < code.expires_ms
    if code is None or not usable or code.role != enrolment.role.value:
        raise CodedError(ErrorCode.ENROLMENT_CODE_REFUSED)
    connection.execute(
        update(enrolment_codes)
        .where(enrolment_codes.c.hash == code.hash)
        .values(used_ms=now_ms, used_by=enrolment.iss, used_digest=digest(compact))
    )
    created = _put_device(connection, enrolment, code, now_ms)
    return Enrolled(_enrolment_answer(connection, enrolment, server_id), created)


def _put_device(connection: Connection, enrolment: Enrolment, code: Row[Any], now_ms: int) -> bool:
    table = _DEVICES[enrolment.role]
    values: dict[str, object] = (
        {"lane": code.label, "merchant_id": code.merchant_id}
        if enrolment.role is Role.TERMINAL
        else {"label": code.label}
    )
    known = connection.execute(select(table).where(table.c.id == enrolment.iss)).one_or_none()
    if known is None:
        check_one_role(connection, enrolment.role, enrolment.iss)
        key = enrolment.key.model_dump_json()
        connection.execute(
            insert(table).values(id=enrolment.iss, key=key, enrolled_ms=now_ms, **values)
        )
        return True
    connection.execute(update(table).where(table.c.id == enrolment.iss).values(**values))
    return False


def _enrolment_answer(
    connection: Connection, enrolment: Enrolment, server_id: str
) -> dict[str, object]:
    answer: dict[str, object] = {
        "id": enrolment.iss,
        "role": enrolment.role.value,
        "server": server_id,
    }
    if enrolment.role is Role.TERMINAL:
        row = connection.execute(
            select(terminals.c.lane, merchants.c.id, merchants.c.name)
            .join(merchants, merchants.c.id == terminals.c.merchant_id)
            .where(terminals.c.id == enrolment.iss)
        ).one()
        answer |= {"lane": row.lane, "merchant": {"id": row.id, "name": row.name}}
    return answer


def device_key(connection: Connection, role: Role, device_id: str) -> VerifyingKey | None:
    """The signing key of a device, revoked or not; None if it is not registered."""
    table = _DEVICES[role]
    text = connection.scalar(select(table.c.key).where(table.c.id == device_id))
    return None if text is None else VerifyingKey.from_jwk(Jwk.model_validate_json(text))


def check_not_revoked(connection: Connection, role: Role, device_id: str) -> None:
    """Raises CodedError (``device_revoked``)."""
    if _REVOKED[role].scalar(connection, {"device": device_id}) is not None:
        raise CodedError(ErrorCode.DEVICE_REVOKED)


def check_serves(connection: Connection, terminal_id: str, merchant_id: str) -> None:
    """The terminal still takes money for this merchant. Raises CodedError (``device_revoked``)."""
    serves = select(terminals.c.merchant_id).where(terminals.c.id == terminal_id)
    if connection.scalar(serves) != merchant_id:
        raise CodedError(ErrorCode.DEVICE_REVOKED, "the terminal serves another merchant now")


def check_one_role(connection: Connection, role: Role, device_id: str) -> None:
    """A key that is known in another role could not be revoked by name. Raises CodedError."""
    for other, table in _DEVICES.items():
        taken = select(table.c.id).where(table.c.id == device_id)
        if other is not role and connection.scalar(taken) is not None:
            raise CodedError(ErrorCode.ISSUER_WRONG, f"this key is registered as that of a {other}")


def list_devices(connection: Connection, role: Role) -> list[dict[str, Any]]:
    """Registered devices without their keys, in the order in which they came."""
    table = _DEVICES[role]
    columns = [column for column in table.c if column.name not in ("key", "beacon_key")]
    since = table.c.paired_ms if role is Role.JACK else table.c.enrolled_ms
    rows = connection.execute(select(*columns).order_by(since, table.c.id))
    return [dict(row._mapping) for row in rows]


def revoke(connection: Connection, role: Role, device_id: str, at_ms: int) -> bool:
    """End a device for good. False if it was revoked before. Raises RegistryError."""
    table = _DEVICES[role]
    row = connection.execute(select(table).where(table.c.id == device_id)).one_or_none()
    if row is None:
        raise RegistryError(f"there is no {role} {device_id!r}")
    if row.revoked_ms is not None:
        return False
    connection.execute(update(table).where(table.c.id == device_id).values(revoked_ms=at_ms))
    return True

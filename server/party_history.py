"""A merchant or device as its operator sees it: what it is, and what it has taken part in."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Column, Connection, Table, func, select

from server.prepared import AnyRow
from server.registry import RegistryError, find_merchant
from server.schema.orders import refunds
from server.schema.parties import jacks, memberships, pairings, phones, terminals
from server.schema.payments import payments
from server.webhook_endpoints import list_endpoints
from twochannel.protocol.statements import Role

_DEVICES: Final[dict[Role, Table]] = {
    Role.JACK: jacks,
    Role.PHONE: phones,
    Role.TERMINAL: terminals,
}
#: Public, long, and of no use to a person.
_LEFT_OUT: Final = ("key", "beacon_key")


def show_device(connection: Connection, role: Role, device_id: str) -> dict[str, Any]:
    """A device without its keys. Raises RegistryError."""
    shown = dict(find_device(connection, role, device_id)._mapping)
    for name in _LEFT_OUT:
        shown.pop(name, None)
    shown["payments"] = count_payments(connection, role, device_id)
    if role is not Role.TERMINAL:
        shown["pairings"] = _pairings(connection, pairings.c[f"{role}_id"], device_id)
        shown["memberships"] = _memberships(connection, memberships.c[f"{role}_id"], device_id)
    return shown


def find_device(connection: Connection, role: Role, device_id: str) -> AnyRow:
    """Raises RegistryError."""
    table = _DEVICES[role]
    row = connection.execute(select(table).where(table.c.id == device_id)).one_or_none()
    if row is None:
        raise RegistryError(f"there is no {role} {device_id!r}")
    return row


def count_payments(connection: Connection, role: Role, device_id: str) -> dict[str, int]:
    """How many of a device's payments have each status."""
    return _payments(connection, payments.c[f"{role}_id"], device_id)


def show_merchant(connection: Connection, name_or_id: str) -> dict[str, Any]:
    """A merchant with its terminals and endpoints. Raises RegistryError."""
    row = find_merchant(connection, name_or_id)
    lanes = select(terminals.c.id, terminals.c.lane, terminals.c.revoked_ms).where(
        terminals.c.merchant_id == row.id
    )
    endpoints = [e for e in list_endpoints(connection) if e["merchant_id"] == row.id]
    return dict(row._mapping) | {
        "terminals": [dict(r._mapping) for r in connection.execute(lanes.order_by("enrolled_ms"))],
        "webhooks": endpoints,
        "payments": _payments(connection, payments.c.merchant_id, row.id),
    }


def _payments(connection: Connection, column: Column[Any], value: str) -> dict[str, int]:
    """How many of each status."""
    query = select(payments.c.status, func.count().label("payments")).where(column == value)
    rows = connection.execute(query.group_by(payments.c.status).order_by(payments.c.status))
    return {row.status: row.payments for row in rows}


def _pairings(connection: Connection, column: Column[Any], value: str) -> list[dict[str, Any]]:
    query = select(
        pairings.c.jack_id, pairings.c.phone_id, pairings.c.epoch, pairings.c.paired_ms
    ).where(column == value)
    rows = connection.execute(query.order_by(pairings.c.seq))
    return [dict(row._mapping) for row in rows]


def _memberships(connection: Connection, column: Column[Any], value: str) -> list[dict[str, Any]]:
    """Of further phones, also those that have ended."""
    query = (
        select(
            memberships.c.jack_id,
            memberships.c.phone_id,
            phones.c.label,
            memberships.c.epoch,
            memberships.c.joined_ms,
            memberships.c.ended_ms,
        )
        .join(phones, phones.c.id == memberships.c.phone_id)
        .where(column == value)
        .order_by(memberships.c.joined_ms, memberships.c.id)
    )
    return [dict(row._mapping) for row in connection.execute(query)]


def recent_refunds(
    connection: Connection, limit: int, *, status: str | None = None
) -> list[dict[str, Any]]:
    """The newest refunds of all payments."""
    query = select(
        refunds.c.id,
        refunds.c.payment_id,
        refunds.c.status,
        refunds.c.amount_minor,
        refunds.c.currency,
        refunds.c.reference,
        refunds.c.requested_by,
        refunds.c.reason,
        refunds.c.created_ms,
        refunds.c.settled_ms,
    ).order_by(refunds.c.created_ms.desc(), refunds.c.id.desc())
    if status is not None:
        query = query.where(refunds.c.status == status)
    return [dict(row._mapping) for row in connection.execute(query.limit(limit))]


def show_refund(connection: Connection, refund_id: str) -> dict[str, Any]:
    """Raises RegistryError."""
    row = connection.execute(select(refunds).where(refunds.c.id == refund_id)).one_or_none()
    if row is None:
        raise RegistryError(f"there is no refund {refund_id!r}; see: cigarjack-server refunds list")
    return dict(row._mapping)

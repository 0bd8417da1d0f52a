"""Telling a merchant: what happened to a payment becomes an event, one delivery for each endpoint.

In the transaction in which it happens, so that nothing is told that did not happen, and nothing
that happened is not told. A merchant without endpoints costs one look-up.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, bindparam, insert, literal_column, select

from server.kinds import EndpointState
from server.prepared import AnyRow, Prepared
from server.schema.webhooks import webhook_deliveries, webhook_endpoints, webhook_events

_ENDPOINTS: Final = Prepared(
    select(webhook_endpoints.c.id).where(
        webhook_endpoints.c.merchant_id == bindparam("merchant"),
        webhook_endpoints.c.state == literal_column(f"'{EndpointState.ENABLED}'"),
    )
)
_EVENT: Final = insert(webhook_events)
_DELIVERIES: Final = insert(webhook_deliveries).inline()


def tell_merchant(
    connection: Connection,
    payment: AnyRow,
    kind: str,
    data: Callable[[], dict[str, object]],
    at_ms: int,
    new_id: Callable[[], str],
) -> bool:
    """Queue what happened; whether there is somebody to tell. ``data`` is asked only then."""
    endpoints = _ENDPOINTS.scalars(connection, {"merchant": payment.merchant_id})
    if not endpoints:
        return False
    event = new_id()
    values = {"id": event, "kind": kind, "payment_id": payment.id, "at_ms": at_ms}
    connection.execute(_EVENT, values | {"body": _body(kind, data(), at_ms)})
    queued = {"event_id": event, "queued_ms": at_ms, "next_at_ms": at_ms}
    connection.execute(_DELIVERIES, [queued | {"endpoint_id": e} for e in endpoints])
    return True


def _body(kind: str, data: dict[str, object], at_ms: int) -> str:
    """As Standard Webhooks has it."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    document = {"type": kind, "timestamp": moment.replace("+00:00", "Z"), "data": data}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))

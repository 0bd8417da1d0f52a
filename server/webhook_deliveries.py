"""The transactions of deliveries: take what is due, report how a try went, send again by hand."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, bindparam, func, insert, select, update

from server.backoff import WEBHOOK, delay_ms
from server.kinds import DeliveryState, EndpointState
from server.registry import RegistryError
from server.schema.webhooks import (
    QUEUED,
    webhook_deliveries,
    webhook_endpoints,
    webhook_events,
    webhook_tries,
)
from server.webhook_endpoints import end_endpoint, get_endpoint
from server.webhook_policy import Verdict, judge

#: Tries at one endpoint at once: one that hangs does not hold up the others.
PER_ENDPOINT: Final = 4
#: Rows looked at to find some of them.
_WINDOW: Final = 200

_DUE: Final = (
    select(
        webhook_deliveries,
        webhook_events.c.body,
        webhook_endpoints.c.url,
        webhook_endpoints.c.secret,
        webhook_endpoints.c.former_secret,
        webhook_endpoints.c.former_until_ms,
    )
    .join(webhook_events, webhook_events.c.id == webhook_deliveries.c.event_id)
    .join(webhook_endpoints, webhook_endpoints.c.id == webhook_deliveries.c.endpoint_id)
    .where(
        QUEUED,
        webhook_deliveries.c.next_at_ms <= bindparam("now_ms"),
        webhook_deliveries.c.endpoint_id.not_in(bindparam("busy", expanding=True)),
    )
    .order_by(webhook_deliveries.c.next_at_ms, webhook_deliveries.c.seq)
    .limit(_WINDOW)
)
_NEXT: Final = select(func.min(webhook_deliveries.c.next_at_ms)).where(
    QUEUED, webhook_deliveries.c.endpoint_id.not_in(bindparam("busy", expanding=True))
)
_TAKE: Final = (
    update(webhook_deliveries)
    .where(webhook_deliveries.c.seq == bindparam("row"))
    .values(
        attempts=webhook_deliveries.c.attempts + 1,
        round_attempts=webhook_deliveries.c.round_attempts + 1,
    )
)
_TRIED: Final = insert(webhook_tries)
_CHANGE: Final = update(webhook_deliveries).where(
    webhook_deliveries.c.seq == bindparam("row"), QUEUED
)
_CHANGE_OWN: Final = _CHANGE.where(webhook_deliveries.c.attempts == bindparam("own"))


@dataclass(frozen=True, slots=True)
class Parcel:
    """One delivery to be tried. ``secrets``: those to sign with, the newest first.

    ``attempts`` counts this try; ``round_attempts`` since it was last queued.
    """

    seq: int
    event_id: str
    endpoint_id: str
    url: str
    body: str
    secrets: tuple[str, ...]
    attempts: int
    round_attempts: int
    queued_ms: int


@dataclass(frozen=True, slots=True)
class Try:
    """How a try went: the answer's ``status``, or ``error`` if there was none."""

    at_ms: int
    took_ms: int
    status: int | None
    error: str | None = None


def take(
    connection: Connection,
    now_ms: int,
    until_ms: int,
    under_way: Collection[str],
    limit: int,
) -> list[Parcel]:
    """Up to ``limit`` deliveries that are due; nobody else takes them before ``until_ms``.

    ``under_way``: the endpoints of the tries that the caller has at this moment.
    """
    counts = {endpoint: list(under_way).count(endpoint) for endpoint in set(under_way)}
    asked = {"now_ms": now_ms, "busy": busy(under_way)}
    parcels: list[Parcel] = []
    for row in connection.execute(_DUE, asked):
        counts[row.endpoint_id] = counts.get(row.endpoint_id, 0) + 1
        if counts[row.endpoint_id] <= PER_ENDPOINT and len(parcels) < limit:
            parcels.append(_parcel(row, now_ms))
    if parcels:
        taken = [{"row": parcel.seq, "next_at_ms": until_ms} for parcel in parcels]
        connection.execute(_TAKE, taken)
    return parcels


def busy(under_way: Collection[str]) -> list[str]:
    """The endpoints that may have no more tries at once."""
    return [e for e in set(under_way) if list(under_way).count(e) >= PER_ENDPOINT]


def next_delivery_ms(connection: Connection, under_way: Collection[str]) -> int | None:
    """When the next delivery is due that may be taken; None if there is none."""
    due_ms: int | None = connection.scalar(_NEXT, {"busy": busy(under_way)})
    return due_ms


def _parcel(row: Row[Any], now_ms: int) -> Parcel:
    former = row.former_secret if now_ms < (row.former_until_ms or 0) else None
    return Parcel(
        seq=row.seq,
        event_id=row.event_id,
        endpoint_id=row.endpoint_id,
        url=row.url,
        body=row.body,
        secrets=(row.secret,) if former is None else (row.secret, former),
        attempts=row.attempts + 1,
        round_attempts=row.round_attempts + 1,
        queued_ms=row.queued_ms,
    )


def report(
    connection: Connection, parcel: Parcel, tried: Try, now_ms: int, jitter: float
) -> Verdict:
    """Note how a try went, and what becomes of the delivery."""
    log = {"delivery_seq": parcel.seq, "number": parcel.attempts, "at_ms": tried.at_ms}
    outcome = {"took_ms": tried.took_ms, "status": tried.status, "error": tried.error}
    connection.execute(_TRIED, log | outcome)
    verdict = judge(tried.status, parcel.queued_ms, now_ms)
    row = {"row": parcel.seq, "own": parcel.attempts}
    match verdict:
        case Verdict.DELIVERED:
            done = {"state": DeliveryState.DELIVERED.value, "done_ms": now_ms}
            connection.execute(_CHANGE, {"row": parcel.seq} | done)
        case Verdict.AGAIN:
            next_at_ms = now_ms + delay_ms(parcel.round_attempts, jitter, WEBHOOK)
            connection.execute(_CHANGE_OWN, row | {"next_at_ms": next_at_ms})
        case Verdict.FAILED:
            done = {"state": DeliveryState.FAILED.value, "done_ms": now_ms}
            connection.execute(_CHANGE_OWN, row | done)
        case Verdict.GONE:
            _end(connection, parcel.endpoint_id)
    return verdict


def _end(connection: Connection, endpoint_id: str) -> None:
    """Its merchant says that it is gone. It may have been removed meanwhile."""
    try:
        end_endpoint(connection, endpoint_id, EndpointState.DISABLED)
    except RegistryError:
        return


def send_again(connection: Connection, delivery: int, now_ms: int) -> None:
    """Queue a delivery anew, whatever became of it. Raises RegistryError."""
    query = select(webhook_deliveries).where(webhook_deliveries.c.seq == delivery)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise RegistryError(
            f"there is no delivery {delivery}; run: cigarjack-server webhook deliveries"
        )
    endpoint = get_endpoint(connection, row.endpoint_id)
    if endpoint.state != EndpointState.ENABLED.value:
        raise RegistryError(
            f"its endpoint is disabled; run: cigarjack-server webhook enable {endpoint.id}"
        )
    connection.execute(
        update(webhook_deliveries)
        .where(webhook_deliveries.c.seq == delivery)
        .values(
            state=DeliveryState.QUEUED.value,
            round_attempts=0,
            queued_ms=now_ms,
            next_at_ms=now_ms,
            done_ms=None,
        )
    )


def list_deliveries(
    connection: Connection, limit: int, *, endpoint: str | None = None, state: str | None = None
) -> list[dict[str, object]]:
    """The newest deliveries with their last tries."""
    last = (
        select(webhook_tries.c.delivery_seq, func.max(webhook_tries.c.number).label("number"))
        .group_by(webhook_tries.c.delivery_seq)
        .subquery()
    )
    query = (
        select(
            webhook_deliveries.c.seq.label("delivery"),
            webhook_deliveries.c.endpoint_id.label("endpoint"),
            webhook_deliveries.c.event_id.label("event"),
            webhook_events.c.kind,
            webhook_events.c.payment_id.label("payment"),
            webhook_deliveries.c.state,
            webhook_deliveries.c.attempts,
            webhook_tries.c.status,
            webhook_tries.c.error,
            webhook_deliveries.c.next_at_ms,
            webhook_deliveries.c.done_ms,
        )
        .join(webhook_events, webhook_events.c.id == webhook_deliveries.c.event_id)
        .outerjoin(last, last.c.delivery_seq == webhook_deliveries.c.seq)
        .outerjoin(
            webhook_tries,
            (webhook_tries.c.delivery_seq == last.c.delivery_seq)
            & (webhook_tries.c.number == last.c.number),
        )
        .order_by(webhook_deliveries.c.seq.desc())
        .limit(limit)
    )
    return [dict(row._mapping) for row in connection.execute(_where(query, endpoint, state))]


def _where(query: Select[Any], endpoint: str | None, state: str | None) -> Select[Any]:
    if endpoint is not None:
        query = query.where(webhook_deliveries.c.endpoint_id == endpoint)
    if state is not None:
        query = query.where(webhook_deliveries.c.state == state)
    return query


def tries_of(connection: Connection, delivery: int) -> list[dict[str, object]]:
    """Every try of a delivery, the first one first."""
    query = select(webhook_tries).where(webhook_tries.c.delivery_seq == delivery)
    rows = connection.execute(query.order_by(webhook_tries.c.number))
    return [dict(row._mapping) for row in rows]

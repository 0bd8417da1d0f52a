"""Devices and how they are, and how long the legs of payments take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Table, func, select, union

from server.allowances import list_failures
from server.kinds import FailureKind
from server.schema.parties import jacks, memberships, merchants, phones, terminals
from server.schema.payments import payment_events, payments, statements
from twochannel.protocol.payment import Status

#: Devices of each kind on the page: the newest. Others are found by their payments.
DEVICES: Final = 100
#: Payments whose legs are measured: the newest, of the last day.
MEASURED: Final = 1000
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Devices:
    """``newest``: rows with ``heard_ms``, when the last payment of each began. ``count``: all."""

    newest: list[Any]
    count: int
    revoked: int


def list_terminals(connection: Connection) -> Devices:
    heard = _last(payments.c.terminal_id, terminals)
    query = select(terminals, merchants.c.name.label("merchant"), heard).join(
        merchants, merchants.c.id == terminals.c.merchant_id
    )
    return _devices(connection, query, terminals, terminals.c.enrolled_ms)


def list_phones(connection: Connection) -> Devices:
    query = select(phones, _last(payments.c.phone_id, phones))
    return _devices(connection, query, phones, phones.c.enrolled_ms)


def list_jacks(connection: Connection) -> Devices:
    """A jack's payments are those of its owner's phone and its members'. ``members``: how many."""
    own = jacks.alias()
    its_phones = union(
        select(own.c.phone_id).where(own.c.id == jacks.c.id).correlate(jacks),
        select(memberships.c.phone_id).where(memberships.c.jack_id == jacks.c.id).correlate(jacks),
    )
    heard = (
        select(func.max(payments.c.created_ms))
        .where(payments.c.phone_id.in_(its_phones), payments.c.jack_id == jacks.c.id)
        .scalar_subquery()
        .label("heard_ms")
    )
    members = (
        select(func.count())
        .where(
            memberships.c.jack_id == jacks.c.id,
            memberships.c.epoch == jacks.c.epoch,
            memberships.c.ended_ms.is_(None),
        )
        .scalar_subquery()
        .label("members")
    )
    return _devices(connection, select(jacks, heard, members), jacks, jacks.c.paired_ms)


def count_failed(connection: Connection, now_ms: int) -> dict[str, int]:
    """How often a device was refused for what its limits count; not those who were never."""
    of_devices = (FailureKind.CODE.value, FailureKind.CONFIRMATION.value)
    counted = list_failures(connection, now_ms)
    return {str(f["subject"]): int(str(f["count"])) for f in counted if f["kind"] in of_devices}


def _last(column: Any, table: Table) -> Any:
    last = select(func.max(payments.c.created_ms)).where(column == table.c.id)
    return last.scalar_subquery().label("heard_ms")


def _devices(connection: Connection, query: Any, table: Table, since: Any) -> Devices:
    rows = connection.execute(query.order_by(since.desc(), table.c.id).limit(DEVICES))
    counted = select(func.count(), func.count(table.c.revoked_ms)).select_from(table)
    count, revoked = connection.execute(counted).one()
    return Devices(list(rows), count, revoked)


@dataclass(frozen=True, slots=True)
class Leg:
    """How long one leg took, in ms. ``count`` 0: nothing was measured, and the figures are 0."""

    name: str
    count: int
    p50_ms: int
    p90_ms: int
    p99_ms: int
    max_ms: int


#: From when to when: None is the request.
_LEGS: Final[tuple[tuple[str, Status | None, Status], ...]] = (
    ("Request and challenge → confirmed", None, Status.CONFIRMED),
    ("Confirmed → authorised", Status.CONFIRMED, Status.AUTHORIZED),
    ("Confirmed → captured at once", Status.CONFIRMED, Status.CAPTURED),
    ("Authorised → captured", Status.AUTHORIZED, Status.CAPTURED),
    ("Request → captured", None, Status.CAPTURED),
)


def measure(connection: Connection, now_ms: int) -> list[Leg]:
    """Of the last day's newest payments."""
    began, reached = _times(connection, now_ms)
    return [_leg(name, _durations(began, reached, since, to)) for name, since, to in _LEGS]


def _times(
    connection: Connection, now_ms: int
) -> tuple[dict[str, int], dict[str, dict[Status, int]]]:
    """When each payment began, and when it came to each state for the first time."""
    ids = (
        select(statements.c.payment_id)
        .where(statements.c.position == 1)
        .order_by(statements.c.seq.desc())
        .limit(MEASURED)
        .subquery()
    )
    query = (
        select(payments.c.id, payments.c.created_ms, payment_events.c.to_status)
        .add_columns(payment_events.c.at_ms)
        .join(ids, ids.c.payment_id == payments.c.id)
        .join(payment_events, payment_events.c.payment_id == payments.c.id)
        .where(payments.c.created_ms > now_ms - _DAY_MS)
        .order_by(payment_events.c.payment_id, payment_events.c.seq)
    )
    began: dict[str, int] = {}
    reached: dict[str, dict[Status, int]] = {}
    for row in connection.execute(query):
        began[row.id] = row.created_ms
        reached.setdefault(row.id, {}).setdefault(Status(row.to_status), row.at_ms)
    return began, reached


def _durations(
    began: dict[str, int], reached: dict[str, dict[Status, int]], since: Status | None, to: Status
) -> list[int]:
    """Of the payments that went this way without a state between."""
    found = []
    for payment, states in reached.items():
        at_once = since is not Status.CONFIRMED or to is not Status.CAPTURED
        if to not in states or (not at_once and Status.AUTHORIZED in states):
            continue
        start_ms = began[payment] if since is None else states.get(since)
        if start_ms is not None:
            found.append(states[to] - start_ms)
    return found


def _leg(name: str, durations_ms: Sequence[int]) -> Leg:
    ordered = sorted(durations_ms)
    figures = [percentile(ordered, share) for share in (50, 90, 99, 100)]
    return Leg(name, len(ordered), *figures)


def percentile(ordered: Sequence[int], share: int) -> int:
    """The nearest rank: the smallest value that ``share`` per cent are not above. 0 of nothing."""
    return ordered[max(1, math.ceil(len(ordered) * share / 100)) - 1] if ordered else 0

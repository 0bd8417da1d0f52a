"""Retention: what is old and over is forgotten; payments, evidence and what is open are not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from server import retention
from server.audit_records import read_records
from server.kinds import EndpointState
from server.phone_events import events_after
from server.retention import forget, run_retention
from server.schema.notices import phone_events
from server.schema.tables import metadata
from server.store import Store
from server.webhook_endpoints import add_endpoint, end_endpoint
from tests.server.devices import new_id
from tests.server.world import World
from twochannel.protocol.payment import Event

DAY_MS = 86_400_000


@pytest.fixture
def world(database: str) -> Iterator[World]:
    store = Store(database)
    store.write_now(metadata.create_all)
    yield World(store)
    store.close_now()


def buy(world: World) -> str:
    payment = world.request()
    world.confirm(payment)
    world.settle(payment, Event.CAPTURE)
    return payment


def count(world: World, table: str) -> int:
    return len(world.rows(f"SELECT * FROM {table}"))


def endpoint(world: World) -> str:
    name = new_id()
    world.store.write_now(
        lambda c: add_endpoint(c, name, "coffee", "https://shop.example/", "whsec_AAAA", 1)
    )
    return name


def test_what_is_old_and_over_is_forgotten(world: World) -> None:
    name = endpoint(world)
    buy(world)
    world.store.write_now(lambda c: end_endpoint(c, name, EndpointState.REMOVED))
    other = endpoint(world)
    open_payment = buy(world)
    newest = world.rows("SELECT max(seq) AS seq FROM phone_events")[0]["seq"]
    later_ms = world.now_ms + 1
    evidence = {t: count(world, t) for t in ("payments", "statements", "payment_events", "outbox")}
    forgotten = world.store.write_now(lambda c: forget(c, later_ms))
    assert forgotten["webhook_events"] == 1
    assert [row["payment_id"] for row in world.rows("SELECT * FROM webhook_events")] == [
        open_payment
    ]
    assert [row["seq"] for row in world.rows("SELECT seq FROM phone_events")] == [newest]
    assert {t: count(world, t) for t in evidence} == evidence
    world.store.write_now(lambda c: end_endpoint(c, other, EndpointState.REMOVED))
    assert world.store.write_now(lambda c: forget(c, later_ms))["webhook_events"] == 1
    assert count(world, "webhook_deliveries") == 0


def test_what_is_young_is_kept(world: World) -> None:
    endpoint(world)
    buy(world)
    before = {t: count(world, t) for t in ("phone_events", "webhook_events", "enrolment_codes")}
    forgotten = world.store.write_now(lambda c: forget(c, world.now_ms))
    assert set(forgotten.values()) == {0}
    assert {t: count(world, t) for t in before} == before


def test_enrolment_codes_that_expired_are_forgotten(world: World) -> None:
    assert count(world, "enrolment_codes") == 2
    world.store.write_now(lambda c: forget(c, world.now_ms + DAY_MS))
    assert count(world, "enrolment_codes") == 0


def test_a_phone_that_was_away_goes_on_with_what_is_there(world: World) -> None:
    buy(world)
    world.store.write_now(lambda c: forget(c, world.now_ms + 1))
    kept = world.rows("SELECT max(seq) AS seq FROM phone_events")[0]["seq"]
    buy(world)
    query = select(phone_events.c.seq).order_by(phone_events.c.seq)
    numbers = world.store.read_now(lambda c: list(c.scalars(query)))
    assert numbers[0] == kept
    found = world.store.read_now(lambda c: events_after(c, world.phone.key.kid, numbers[0]))
    assert [event.seq for event in found]
    assert all(event.seq > numbers[0] for event in found)


async def test_it_works_in_batches_until_nothing_old_is_left(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 1)
    for _ in range(3):
        buy(world)
    assert count(world, "phone_events") > 3
    task = asyncio.create_task(run_retention(world.store, lambda: world.now_ms + 2 * DAY_MS, 1))
    async with asyncio.timeout(20):
        while True:
            if count(world, "phone_events") == 1:
                break
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await world.store.close()


async def test_nothing_is_forgotten_if_it_is_not_wanted(world: World) -> None:
    buy(world)
    before = count(world, "phone_events")
    await run_retention(world.store, lambda: world.now_ms + 10**6 * DAY_MS, 0)
    assert count(world, "phone_events") == before
    await world.store.close()


def test_the_auditor_still_knows_the_order_of_auth_codes(world: World, database: str) -> None:
    for _ in range(3):
        buy(world)
    world.store.write_now(lambda c: forget(c, world.now_ms + 1))
    records = read_records(database, Path("/nonexistent"), world.identity, world.now_ms)
    assert len(records.auth_codes) == 3

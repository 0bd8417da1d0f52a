"""Two servers at one outbox: an order is called by one of them, and who comes late is told so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from server.calls import lose, lose_abandoned, queue_again, take, unknown_jobs
from server.outbox import run_worker
from server.reconciler import run_reconciler
from server.store import Store
from tests.postgresql import Postgresql
from tests.server.desk import Desk, open_desk
from twochannel.trace import wall_ms

pytestmark = pytest.mark.postgresql


@pytest.fixture
def url(postgresql: Postgresql) -> str:
    return postgresql.new_database()


@pytest.fixture
async def desk(tmp_path: Path, url: str) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path, url) as desk:
        desk.clearing = replace(desk.clearing, timeout_s=20)
        yield desk


async def test_two_workers_call_each_order_once(desk: Desk, url: str) -> None:
    payments = [desk.confirmed() for _ in range(20)]
    other = replace(desk.clearing, store=Store(url))
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(work(clearing))
            for work in (run_worker, run_reconciler)
            for clearing in (desk.clearing, other)
        ]
        for payment in payments:
            await desk.until(payment, status="captured")
        for task in tasks:
            task.cancel()
    await other.store.close()
    assert sorted(desk.processor.calls) == sorted(f"{payment}:charge:1" for payment in payments)


async def test_who_comes_late_does_not_undo_what_another_went_on_with(desk: Desk) -> None:
    """Its lease ran out; another found the order unknown, ordered it again, and is calling now."""
    payment, store, issuer = desk.confirmed(), desk.world.store, desk.world.issuer
    now_ms = wall_ms()
    (late,) = store.write_now(lambda c: take(c, now_ms, now_ms + 1, 10))
    store.write_now(lambda c: lose_abandoned(c, issuer, now_ms, now_ms + 1))
    (unknown,) = store.read_now(lambda c: unknown_jobs(c, now_ms, 10))
    assert store.write_now(lambda c: queue_again(c, unknown, now_ms))
    (calling,) = store.write_now(lambda c: take(c, now_ms, now_ms + 60_000, 10))

    assert not store.write_now(lambda c: queue_again(c, late, now_ms))
    assert not store.write_now(lambda c: queue_again(c, unknown, now_ms))
    own = late.own_attempts
    store.write_now(
        lambda c: lose(c, late.row_id, issuer, now_ms, next_at_ms=now_ms, own_attempts=own)
    )
    row = desk.outbox(payment)
    assert (row["state"], row["attempts"]) == ("calling", calling.own_attempts)

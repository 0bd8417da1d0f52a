"""Two servers at one outbox: an order is called by one of them, and who comes late is told so."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from server.calls import lose, lose_abandoned, queue_again, take, unknown_jobs
from server.config import ServerSettings
from server.outbox import run_worker
from server.reconciler import run_reconciler
from server.state import StateFolder, initialise
from server.store import Store
from tests.postgresql import Postgresql
from tests.server.desk import DEADLINE_S, Desk, open_desk
from tests.server.devices import new_id
from tests.server.process import started
from tests.server.world import World
from twochannel.trace import wall_ms

pytestmark = pytest.mark.postgresql

#: Orders that wait: more than one server takes at once.
QUEUE = 150


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


def test_two_server_processes_call_each_order_once(tmp_path: Path, url: str) -> None:
    """Both find the same long queue when they start, and say in their traces what they called."""
    first, second = tmp_path / "first", tmp_path / "second"
    initialise(StateFolder(first), ServerSettings(port=0, database=url), new_id, 2**70)
    shutil.copytree(first, second)
    (second / "processor.sqlite3").symlink_to(first / "processor.sqlite3")
    store = Store(url)
    world = World(store, now_ms=wall_ms())
    payments = []
    for _ in range(QUEUE):
        payments.append(world.request())
        world.confirm(payments[-1])
    with started(first), started(second):
        deadline_s = time.monotonic() + DEADLINE_S
        while world.rows("SELECT 1 FROM outbox WHERE state <> 'done' LIMIT 1"):
            assert time.monotonic() < deadline_s
    store.close_now()
    called = Counter(
        event["payment"]
        for folder in (first, second)
        for line in (folder / "trace.jsonl").read_text().splitlines()
        if (event := json.loads(line))["event"] == "processor_called"
    )
    assert called == Counter(payments)


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

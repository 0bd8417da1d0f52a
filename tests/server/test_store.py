"""Group commit: one fsync for many, and nobody hears an answer early."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, func, insert, select
from sqlalchemy.exc import IntegrityError, OperationalError

from server.schema.parties import merchants
from server.schema.tables import metadata
from server.store import Store, StoreError

#: What SQLite alone can do.
ON_SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    store = Store(database)
    store.write_now(metadata.create_all)
    yield store
    await store.close()


def count(connection: Connection) -> int:
    return connection.scalar(select(func.count()).select_from(merchants)) or 0


def adding(name: str) -> Callable[[Connection], str]:
    def add(connection: Connection) -> str:
        values = {"id": name, "name": name, "presence": "prefer", "created_ms": 1}
        connection.execute(insert(merchants).values(**values))
        return name

    return add


class Gate:
    """A transaction that holds the writer until it is opened, so that others queue up."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._open = threading.Event()

    def __call__(self, _connection: Connection) -> None:
        self._loop.call_soon_threadsafe(self.entered.set)
        if not self._open.wait(20):
            raise TimeoutError

    def open(self) -> None:
        self._open.set()


async def queue_behind(
    store: Store, gate: Gate, *functions: Callable[[Connection], object]
) -> list[object]:
    """Run ``functions`` after ``gate`` as one batch; their values or errors."""
    held = asyncio.create_task(store.write(gate))
    await gate.entered.wait()
    tasks = [asyncio.create_task(store.write(function)) for function in functions]
    # Each task queues its function before its first suspension.
    await asyncio.sleep(0)
    gate.open()
    await held
    return await asyncio.gather(*tasks, return_exceptions=True)


def commits_of(store: Store) -> list[None]:
    """Grows by one with each commit."""
    commits: list[None] = []
    event.listen(store.engine, "commit", lambda _connection: commits.append(None))
    return commits


async def test_what_is_queued_shares_one_commit(store: Store) -> None:
    commits, gate = commits_of(store), Gate()
    names = [f"m{number}" for number in range(store.max_batch)]

    values = await queue_behind(store, gate, *(adding(name) for name in names))

    assert values == names
    assert len(commits) == 2
    assert await store.read(count) == store.max_batch


async def test_a_batch_is_bounded(store: Store) -> None:
    commits, gate = commits_of(store), Gate()
    names = [f"m{number}" for number in range(store.max_batch + 1)]
    await queue_behind(store, gate, *(adding(name) for name in names))
    assert len(commits) == 3


async def test_a_failing_function_is_undone_alone(store: Store) -> None:
    def fail_late(connection: Connection) -> None:
        adding("half written")(connection)
        raise LookupError("late")

    first, failed, twice, last = await queue_behind(
        store, Gate(), adding("first"), fail_late, adding("first"), adding("last")
    )

    assert (first, last) == ("first", "last")
    assert isinstance(failed, LookupError)
    assert isinstance(twice, IntegrityError)
    assert await store.read(count) == 2


@ON_SQLITE
async def test_a_commit_that_fails_reaches_everyone_and_leaves_nothing(store: Store) -> None:
    def refuse(_connection: Connection) -> None:
        raise OperationalError("COMMIT", {}, sqlite3.OperationalError("disk I/O error"))

    gate = Gate()
    held = asyncio.create_task(store.write(gate))
    await gate.entered.wait()
    gate.open()
    await held
    event.listen(store.engine, "commit", refuse)
    second = Gate()
    outcomes = asyncio.gather(
        store.write(second),
        store.write(adding("a")),
        store.write(adding("b")),
        return_exceptions=True,
    )
    await second.entered.wait()
    second.open()

    assert [type(outcome) for outcome in await outcomes] == [StoreError] * 3
    event.remove(store.engine, "commit", refuse)
    assert await store.write(count) == 0
    assert await store.write(adding("after")) == "after"


async def test_nobody_is_answered_before_the_commit(store: Store, database: str) -> None:
    """At the moment of the answer another connection finds what was written."""
    seen: list[int] = []
    other = Store(database)

    async def write(name: str) -> None:
        await store.write(adding(name))
        seen.append(other.read_now(count))

    await asyncio.gather(*(write(f"m{number}") for number in range(20)))
    assert len(seen) == 20
    assert min(seen) >= 1
    assert max(seen) == 20
    other.close_now()


@ON_SQLITE
async def test_a_transaction_that_the_database_ended_by_itself_fails_whole(store: Store) -> None:
    """As SQLite does when the disk is full: the savepoints are gone with the transaction."""

    def end_all(connection: Connection) -> None:
        connection.exec_driver_sql("ROLLBACK")
        raise LookupError

    before, ended = await queue_behind(store, Gate(), adding("before"), end_all)

    assert isinstance(before, StoreError)
    assert isinstance(ended, StoreError)
    assert await store.write(count) == 0


@ON_SQLITE
async def test_a_full_disk_is_told_and_survived(store: Store) -> None:
    def limit(pages: int) -> Callable[[Connection], object]:
        return lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    def fill(connection: Connection) -> None:
        for number in range(1000):
            adding(f"{number}" + "x" * 1000)(connection)

    await store.write(limit(60))
    with pytest.raises(StoreError, match="full"):
        await store.write(fill)
    assert await store.read(count) == 0
    assert await store.write(adding("small")) == "small"


async def test_readers_do_not_wait_for_the_writer_and_cannot_write(store: Store) -> None:
    gate = Gate()
    held = asyncio.create_task(store.write(gate))
    await gate.entered.wait()
    assert await store.read(count) == 0
    with pytest.raises(StoreError, match=r"read-?only"):
        await store.read(adding("reader"))
    gate.open()
    await held
    assert await store.read(count) == 0


async def test_another_process_writes_beside_it(store: Store, database: str) -> None:
    other = Store(database)
    written = [asyncio.create_task(store.write(adding(f"a{number}"))) for number in range(20)]
    for number in range(5):
        await asyncio.to_thread(other.write_now, adding(f"b{number}"))
    await asyncio.gather(*written)
    assert await store.read(count) == 25
    other.close_now()


async def test_a_caller_who_left_harms_nobody(store: Store) -> None:
    gate = Gate()
    held = asyncio.create_task(store.write(gate))
    await gate.entered.wait()
    leaver = asyncio.create_task(store.write(adding("left")))
    await asyncio.sleep(0)
    leaver.cancel()
    stayer = asyncio.create_task(store.write(adding("stayed")))
    await asyncio.sleep(0)
    gate.open()
    await held
    assert await stayer == "stayed"
    assert leaver.cancelled()
    assert await store.read(count) == 2


async def test_who_writes_past_the_queue_waits_for_its_turn(store: Store) -> None:
    gate = Gate()
    queued = asyncio.create_task(store.write(gate))
    await gate.entered.wait()
    at_once = asyncio.create_task(asyncio.to_thread(store.write_now, adding("at once")))
    gate.open()
    await queued
    assert await at_once == "at once"
    assert await store.read(count) == 1


async def test_closing_finishes_what_is_queued(database: str) -> None:
    store = Store(database)
    store.write_now(metadata.create_all)
    tasks = [asyncio.create_task(store.write(adding(f"m{number}"))) for number in range(10)]
    await asyncio.sleep(0)
    await store.close()
    assert len(await asyncio.gather(*tasks)) == 10
    with pytest.raises(StoreError, match="closed"):
        await store.write(count)


def test_it_is_durable_and_strict(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'pragmas.sqlite3'}")

    def pragmas(connection: Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert store.write_now(pragmas) == ["wal", 2, 1, 5000]
    store.close_now()


@pytest.mark.parametrize("url", ["postgresql://localhost/x", "mysql://localhost/x", "nonsense"])
def test_other_databases_are_refused_by_name(url: str) -> None:
    with pytest.raises(ValueError, match=r"sqlite:///<path> or postgresql\+psycopg://"):
        Store(url)

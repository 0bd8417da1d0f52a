"""What is so on PostgreSQL alone: servers take turns, and the database goes and comes back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from click.testing import CliRunner
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from server import postgresql_database
from server.cli import main
from server.postgresql_database import READERS
from server.prepared import Prepared
from server.schema.notices import failures
from server.schema.parties import merchants
from server.schema.tables import metadata
from server.store import Store, StoreAwayError, StoreError
from tests.postgresql import Postgresql, postgresql_server
from tests.server.bench import check_problem, make_folder, running
from twochannel.protocol.errors import ErrorCode

pytestmark = pytest.mark.postgresql

T = TypeVar("T")

_TERMINATE: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE application_name = 'cigarjack-server'"
)


@pytest.fixture
async def store(postgresql: Postgresql) -> AsyncIterator[Store]:
    store = Store(postgresql.new_database())
    store.write_now(metadata.create_all)
    store.write_now(lambda c: c.execute(insert(merchants).values(_merchant("m"))))
    yield store
    await store.close()


@pytest.fixture
async def other(store: Store) -> AsyncIterator[Store]:
    """Another server's, over the same database."""
    other = Store(store.engine.url.render_as_string(hide_password=False))
    yield other
    await other.close()


@pytest.fixture
def own() -> Iterator[Postgresql]:
    """A server that the test may stop."""
    with postgresql_server() as server:
        yield server


def _merchant(name: str) -> dict[str, object]:
    return {"id": name, "name": name, "presence": "prefer", "created_ms": 0}


def count_up(connection: Connection) -> int:
    """Read, then write what follows from it: lost if another does so at the same time."""
    count = connection.scalar(select(merchants.c.created_ms)) or 0
    connection.execute(update(merchants).values(created_ms=count + 1))
    return count + 1


@asynccontextmanager
async def amid_its_turn(
    store: Store, function: Callable[[Connection], T]
) -> AsyncIterator[asyncio.Task[T]]:
    """While the block runs ``store`` has done ``function`` and not committed it yet."""
    entered, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def held(connection: Connection) -> T:
        value = function(connection)
        loop.call_soon_threadsafe(entered.set)
        assert go_on.wait(20)
        return value

    task = asyncio.create_task(store.write(held))
    await entered.wait()
    try:
        yield task
    finally:
        go_on.set()
        await asyncio.wait({task})


async def test_two_servers_do_one_thing_after_the_other(store: Store, other: Store) -> None:
    stores = [store, other] * 50
    counted = await asyncio.gather(*(each.write(count_up) for each in stores))
    assert sorted(counted) == list(range(1, 101))


async def test_who_waited_for_its_turn_sees_what_came_before(store: Store, other: Store) -> None:
    """As with a payment request that a terminal sends twice at once, to two servers."""

    def add(connection: Connection) -> bool:
        known = connection.scalar(select(merchants.c.id).where(merchants.c.id == "twice"))
        if known is None:
            connection.execute(insert(merchants).values(_merchant("twice")))
        return known is None

    async with amid_its_turn(store, add) as first:
        second = asyncio.create_task(other.write(add))
        await asyncio.sleep(0.1)
        assert not second.done()
    assert (await first, await second) == (True, False)


async def test_numbers_appear_in_their_order(store: Store, other: Store) -> None:
    async with amid_its_turn(store, _add) as first:
        second = asyncio.create_task(other.write(_add))
        await asyncio.sleep(0.1)
    assert await first < await second


async def test_who_waits_for_its_turn_for_too_long_is_told(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgresql_database.WRITING, "lock_timeout", "100ms")
    hasty = Store(str(other.engine.url.render_as_string(hide_password=False)))
    async with amid_its_turn(store, count_up) as first:
        with pytest.raises(StoreError, match="another process has kept"):
            await hasty.write(count_up)
    assert await first == 1
    assert await hasty.write(count_up) == 2
    await hasty.close()


@pytest.mark.parametrize("goes_on", [True, False])
async def test_who_stops_amid_its_turn_loses_it_and_does_all_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, *, goes_on: bool
) -> None:
    """A process that is stopped is in nobody's way for long, whatever it does next."""
    monkeypatch.setitem(postgresql_database.WRITING, "idle_in_transaction_session_timeout", "100ms")
    drowsy = Store(store.engine.url.render_as_string(hide_password=False))
    runs: list[int] = []
    asleep, awake = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def doze(connection: Connection) -> int:
        runs.append(count_up(connection))
        loop.call_soon_threadsafe(asleep.set)
        assert awake.wait(20)
        return count_up(connection) if goes_on else runs[-1]

    dozing = asyncio.create_task(drowsy.write(doze))
    await asleep.wait()
    assert await store.write(count_up) == 1
    awake.set()
    assert await dozing == (3 if goes_on else 2)
    assert runs == [1, 2]
    await drowsy.close()


async def test_a_batch_whose_connection_breaks_is_done_once(
    postgresql: Postgresql, store: Store
) -> None:
    broken: list[None] = []

    def breaking(connection: Connection) -> int:
        if not broken:
            broken.append(None)
            postgresql.administer(_TERMINATE)
        return count_up(connection)

    async with amid_its_turn(store, lambda _: None):
        batch = [asyncio.create_task(store.write(each)) for each in (count_up, breaking, count_up)]
        await asyncio.sleep(0)
    assert await asyncio.gather(*batch) == [1, 2, 3]
    assert broken


async def test_what_is_queued_by_its_turn_shares_it(store: Store, other: Store) -> None:
    committed: list[int] = []

    def note(connection: Connection) -> None:
        committed.append(connection.exec_driver_sql("SELECT txid_current()").scalar_one())

    async with amid_its_turn(other, lambda _: None):
        first = asyncio.create_task(store.write(note))
        await asyncio.sleep(0.2)
        rest = [asyncio.create_task(store.write(note)) for _ in range(3)]
        await asyncio.sleep(0)
    await asyncio.gather(first, *rest)
    assert len(committed) == 4
    assert len(set(committed)) == 1


@pytest.mark.parametrize("size", [1, 3])
async def test_an_error_that_a_function_passes_over_is_none_that_is_committed(
    store: Store, size: int
) -> None:
    """PostgreSQL would make a rollback of the commit, and say nothing."""

    def pass_over(connection: Connection) -> str:
        with suppress(IntegrityError):
            connection.execute(insert(merchants).values(_merchant("m")))
        return "done"

    async with amid_its_turn(store, lambda _: None):
        tasks = [asyncio.create_task(store.write(each)) for each in (pass_over, count_up, count_up)]
        tasks = tasks[:size]
        await asyncio.sleep(0)
    failed, *counted = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(failed, StoreError)
    assert "passed over" in str(failed)
    assert counted == [1, 2][: size - 1]


def _add(connection: Connection) -> int:
    values = {"kind": "code", "subject": "t", "at_ms": 1}
    return int(
        connection.execute(insert(failures).values(values).returning(failures.c.seq)).scalar_one()
    )


async def test_a_server_that_is_away_is_told_and_used_again_when_it_is_back(
    own: Postgresql,
) -> None:
    store = Store(own.new_database())
    store.write_now(metadata.create_all)
    await store.write(lambda c: c.execute(insert(merchants).values(_merchant("m"))))
    own.stop()
    with pytest.raises(StoreAwayError, match="PostgreSQL does not answer"):
        await store.write(count_up)
    with pytest.raises(StoreAwayError, match="PostgreSQL does not answer"):
        await store.read(lambda c: c.scalar(select(merchants.c.created_ms)))
    own.start()
    assert await store.write(count_up) == 1
    assert await store.read(lambda c: c.scalar(select(merchants.c.created_ms))) == 1
    await store.close()


async def test_a_running_server_refuses_meanwhile_and_goes_on_by_itself(
    own: Postgresql, tmp_path: Path
) -> None:
    database = own.new_database()
    folder = make_folder(tmp_path / "server", database=database)
    async with running(folder, database=database) as bench:
        await bench.enrol()
        payment, request, challenge = await bench.pending()
        await asyncio.to_thread(own.stop)
        check_problem(await bench.post("/v1/payments", request), ErrorCode.NOT_READY)
        confirmation = bench.devices.confirmation(payment, challenge)
        check_problem(await bench.confirm(payment, confirmation), ErrorCode.NOT_READY)
        await asyncio.to_thread(own.start)
        answer = await bench.confirm(payment, confirmation)
        assert answer.json()["status"] == "captured", answer.text


async def test_connections_that_broke_meanwhile_are_not_noticed(
    store: Store, postgresql: Postgresql
) -> None:
    assert await store.write(count_up) == 1
    for query in (select(merchants.c.created_ms), Prepared(select(merchants.c.created_ms))):

        def look(connection: Connection, query: Any = query) -> Any:
            prepared = isinstance(query, Prepared)
            return query.scalar(connection) if prepared else connection.scalar(query)

        before = await asyncio.gather(*(store.read(look) for _ in range(READERS)))
        postgresql.administer(_TERMINATE)
        after = await asyncio.gather(*(store.read(look) for _ in range(READERS)))
        assert after == before
        postgresql.administer(_TERMINATE)
        assert await store.write(count_up) == before[0] + 1


def test_commands_say_what_to_do_when_it_is_away(own: Postgresql, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "server", database=own.new_database())
    state = ["--state", str(folder.path)]
    listed = CliRunner().invoke(main, [*state, "merchants", "list"])
    assert (listed.exit_code, "Blue Bottle" in listed.stdout) == (0, True)
    assert CliRunner().invoke(main, [*state, "migrate"]).exit_code == 0
    assert CliRunner().invoke(main, [*state, "audit"]).exit_code == 0
    own.stop()
    away = CliRunner().invoke(main, [*state, "merchants", "list", "--json"])
    assert away.exit_code == 1
    assert '"code": "database_away"' in away.stderr
    assert "Start PostgreSQL" in away.stderr
    audited = CliRunner().invoke(main, [*state, "audit"])
    assert audited.exit_code == 2
    own.start()

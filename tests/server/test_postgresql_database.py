"""What PostgreSQL alone can do to a transaction: clash with another, be away, come back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Connection, func, insert, select, update

from server.cli import main
from server.schema.notices import failures
from server.schema.parties import merchants
from server.schema.tables import metadata
from server.store import Store, StoreAwayError, in_turn
from tests.postgresql import Postgresql, postgresql_server
from tests.server.bench import check_problem, make_folder, running
from twochannel.protocol.errors import ErrorCode

pytestmark = pytest.mark.postgresql


@pytest.fixture
async def store(postgresql: Postgresql) -> AsyncIterator[Store]:
    store = Store(postgresql.new_database())
    store.write_now(metadata.create_all)
    store.write_now(lambda c: c.execute(insert(merchants).values(_merchant("m"))))
    yield store
    await store.close()


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


async def test_clashing_transactions_are_as_if_one_came_after_the_other(store: Store) -> None:
    counted = await asyncio.gather(*(store.write(count_up) for _ in range(100)))
    assert sorted(counted) == list(range(1, 101))


async def test_what_two_add_at_once_is_added_once_and_the_other_sees_it(store: Store) -> None:
    """As with a payment request that a terminal sends twice at once."""
    together = threading.Barrier(2)
    runs: list[None] = []

    def add(connection: Connection) -> bool:
        known = connection.scalar(select(merchants.c.id).where(merchants.c.id == "twice"))
        if len(runs) < 2:
            runs.append(None)
            together.wait(20)
        if known is not None:
            return False
        connection.execute(insert(merchants).values(_merchant("twice")))
        return True

    assert sorted(await asyncio.gather(store.write(add), store.write(add))) == [False, True]


async def test_numbers_of_a_series_appear_in_their_order(store: Store) -> None:
    """The first to take its turn commits late; the second waits for it, in vain to be first."""
    entered, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(connection: Connection) -> int:
        in_turn(connection, "series")
        number = _add(connection)
        loop.call_soon_threadsafe(entered.set)
        assert go_on.wait(20)
        return number

    def quick(connection: Connection) -> int:
        go_on.set()
        in_turn(connection, "series")
        return _add(connection)

    first = asyncio.create_task(store.write(slow))
    await entered.wait()
    second = asyncio.create_task(store.write(quick))
    numbers = [await second, await first]
    assert numbers[0] > numbers[1]
    assert await store.read(lambda c: c.scalar(select(func.count()).select_from(failures))) == 2


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
    await store.read(lambda c: c.scalar(select(merchants.c.id)))
    postgresql.administer(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'cigarjack-server'"
    )
    assert await store.write(count_up) == 2
    assert await store.read(lambda c: c.scalar(select(merchants.c.created_ms))) == 2


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

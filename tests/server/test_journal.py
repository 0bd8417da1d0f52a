"""The journal: every statement once, whoever enters it, and whatever ends half-way."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select

from server import journal as journal_module
from server.journal import Journal
from server.schema.journal import journal, journal_checkpoints
from server.schema.payments import statements
from server.schema.tables import metadata
from server.state import StateFolder
from server.store import Store
from tests.postgresql import Postgresql
from tests.server.bench import JWT, copied
from tests.server.devices import Devices
from tests.server.process import challenge_of, client, command, started
from tests.server.world import World
from twochannel.protocol.envelope import verify
from twochannel.protocol.journal import Checkpoint, Entry, link, origin
from twochannel.protocol.payment import Event


@pytest.fixture
def world(database: str) -> Iterator[World]:
    store = Store(database)
    store.write_now(metadata.create_all)
    yield World(store)
    store.close_now()


def keeper(world: World, store: Store | None = None) -> Journal:
    return Journal(store or world.store, world.issuer, lambda: world.now_ms)


def buy(world: World) -> str:
    payment = world.request()
    world.confirm(payment)
    world.settle(payment, Event.CAPTURE)
    return payment


def entered(world: World) -> list[str]:
    """The digests in the journal, whose every link and number is checked on the way."""

    def read(c: Connection) -> list[str]:
        query = (
            select(journal, statements.c.payment_id, statements.c.digest)
            .join_from(journal, statements, statements.c.seq == journal.c.statement_seq)
            .order_by(journal.c.seq)
        )
        before, digests = origin(world.issuer.server_id), []
        for number, row in enumerate(c.execute(query), start=1):
            before = link(before, Entry(number, row.payment_id, row.digest, row.at_ms))
            assert (row.seq, row.link) == (number, before)
            digests.append(row.digest)
        return digests

    return world.store.read_now(read)


def there(world: World) -> list[str]:
    """The digests of all statements, in the order in which they were accepted."""
    query = select(statements.c.digest).order_by(statements.c.seq)
    return world.store.read_now(lambda c: list(c.scalars(query)))


def checkpoints(world: World) -> list[Checkpoint]:
    query = select(journal_checkpoints.c.compact).order_by(journal_checkpoints.c.seq)
    compacts = world.store.read_now(lambda c: list(c.scalars(query)))
    return [verify(compact, Checkpoint, world.server.key) for compact in compacts]


def test_every_statement_of_every_payment_is_entered_once_in_order(world: World) -> None:
    buy(world)
    keeper(world).catch_up()
    assert entered(world) == there(world)
    buy(world)
    keeper(world).catch_up()
    keeper(world).catch_up()
    assert entered(world) == there(world)
    assert len(entered(world)) == 10


def test_more_than_one_transactions_worth_is_entered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_NEW", journal_module._NEW.limit(3))
    for _ in range(2):
        buy(world)
    keeper(world).catch_up()
    assert entered(world) == there(world)


def test_the_server_signs_once_a_minute_and_not_for_nothing(world: World) -> None:
    buy(world)
    keeper(world).catch_up()
    buy(world)
    keeper(world).catch_up()
    assert [c.entries for c in checkpoints(world)] == [5]

    async def later() -> None:
        world.now_ms += 60_000
        for _ in range(3):
            await keeper(world)._step()
            world.now_ms += 60_000

    asyncio.run(later())
    assert [c.entries for c in checkpoints(world)] == [5, 10]
    last = world.rows("SELECT link FROM journal ORDER BY seq DESC")[0]["link"]
    assert checkpoints(world)[-1].link == last


def test_times_of_entries_never_go_back(world: World) -> None:
    buy(world)
    keeper(world).catch_up()
    world.now_ms -= 86_400_000
    buy(world)
    keeper(world).catch_up()
    assert len(world.rows("SELECT DISTINCT at_ms FROM journal")) == 1
    assert entered(world) == there(world)


def test_what_is_cut_off_leaves_no_entry_and_is_gone_on_with(world: World) -> None:
    """A transaction of the journal that dies before its commit, as when the process is killed."""
    buy(world)
    found = world.store.read_now(keeper(world)._look)

    def dies(c: Connection) -> None:
        keeper(world)._append(c, found)
        raise KeyError("killed")

    with pytest.raises(KeyError):
        world.store.write_now(dies)
    assert entered(world) == []
    keeper(world).catch_up()
    assert entered(world) == there(world)


def test_who_comes_late_adds_nothing(world: World) -> None:
    buy(world)
    late = world.store.read_now(keeper(world)._look)
    keeper(world).catch_up()
    buy(world)
    world.store.write_now(lambda c: keeper(world)._append(c, late))
    keeper(world).catch_up()
    assert entered(world) == there(world)


def test_several_keepers_beside_payments_enter_each_once(world: World, database: str) -> None:
    done = threading.Event()
    failures: list[BaseException] = []

    def keep() -> None:
        store = Store(database)
        try:
            while not done.is_set():
                keeper(world, store).catch_up()
        except BaseException as error:
            failures.append(error)
        finally:
            store.close_now()

    threads = [threading.Thread(target=keep) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(12):
        buy(world)
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    keeper(world).catch_up()
    assert entered(world) == there(world)


def row_of(payment: str, position: int) -> dict[str, object]:
    """A statement that nobody signed: the journal reads only names."""
    name = f"statement-{position}"
    row = {"payment_id": payment, "typ": "t", "kid": "k", "compact": "c", "position": position}
    return row | {"jti": name, "digest": name}


@pytest.fixture
def shared(postgresql: Postgresql) -> Iterator[tuple[World, str]]:
    """A world on PostgreSQL, and the URL of its database."""
    url = postgresql.new_database()
    store = Store(url)
    store.write_now(metadata.create_all)
    yield World(store), url
    store.close_now()


@pytest.mark.postgresql
def test_two_servers_that_write_at_once_leave_nothing_out(shared: tuple[World, str]) -> None:
    world, url = shared
    payment = world.request()
    other, entering = Store(url), Store(url)

    def write(store: Store, first: int) -> None:
        for number in range(first, first + 40):
            row = row_of(payment, number)
            store.write_now(lambda c, row=row: c.execute(insert(statements), row))  # type: ignore[misc]

    writers = [
        threading.Thread(target=write, args=(store, first))
        for store, first in ((world.store, 100), (other, 200))
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        keeper(world, entering).catch_up()
    keeper(world, entering).catch_up()
    assert entered(world) == there(world)
    assert len(there(world)) >= 80
    for store in (other, entering):
        store.close_now()


@pytest.mark.postgresql
def test_two_servers_that_keep_it_enter_everything_once(shared: tuple[World, str]) -> None:
    """Both have found the same; the one that comes second adds nothing."""
    world, url = shared
    for _ in range(3):
        buy(world)
    other = Store(url)
    keepers = [
        threading.Thread(target=lambda store=store: keeper(world, store).catch_up())
        for store in (world.store, other)
    ]
    for each in keepers:
        each.start()
    for each in keepers:
        each.join()
    assert entered(world) == there(world)
    other.close_now()


async def test_it_goes_on_after_the_servers_sudden_death(
    prepared: tuple[StateFolder, Devices], tmp_path: Path
) -> None:
    folder, devices = copied(prepared, tmp_path / "server")
    for _ in range(3):
        with started(folder.path) as process, client(folder, process.ready["url"]) as http:
            request = devices.request()
            payment = http.post("/v1/payments", content=request, headers=JWT).json()["id"]
            confirmation = devices.confirmation(payment, challenge_of(folder, payment))
            path = f"/v1/payments/{payment}/confirmation"
            http.post(path, content=confirmation, headers=JWT | {"prefer": "wait=20"})
            process.end(signal.SIGKILL)
    assert command(folder.path, "evidence", "checkpoint").returncode == 0
    audit = json.loads(command(folder.path, "audit", "--json").stdout)
    (check,) = [check for check in audit["checks"] if check["number"] == 18]
    assert (audit["ok"], check["notes"]) == (True, [])
    assert check["objects"] >= 15

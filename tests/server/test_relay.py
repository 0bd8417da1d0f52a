"""Servers that share a database: what happens at one is heard at the other."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from server import services
from server.relay import Relay
from server.routes import events
from server.state import StateFolder
from tests.postgresql import Postgresql
from tests.server.bench import DEADLINE_S, JWT, Bench, make_folder, running
from tests.server.devices import Devices
from tests.server.process import challenge_of, client, command, started, wait_for_end
from tests.server.streams import listening

_LISTENING = (
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'cigarjack-server relay'"
    " AND state = 'idle' AND query LIKE 'LISTEN%'"
)

pytestmark = pytest.mark.postgresql


@pytest.fixture
def folders(postgresql: Postgresql, tmp_path: Path) -> tuple[StateFolder, StateFolder]:
    """Two of one server: same keys, same database, same processor."""
    first = make_folder(tmp_path / "first", database=postgresql.new_database())
    shutil.copytree(first.path, tmp_path / "second")
    (tmp_path / "second" / "processor.sqlite3").symlink_to(first.path / "processor.sqlite3")
    return first, StateFolder(tmp_path / "second")


@asynccontextmanager
async def both(folders: tuple[StateFolder, StateFolder]) -> AsyncIterator[tuple[Bench, Bench]]:
    database = folders[0].settings().database
    async with running(folders[0], database=database) as one:
        await one.enrol()
        async with running(folders[1], one.devices, database=database) as other:
            yield one, other


def booked(folder: StateFolder) -> int:
    with closing(sqlite3.connect(folder.path / "processor.sqlite3")) as books:
        return int(books.execute("SELECT count(*) FROM charges").fetchone()[0])


async def relays(postgresql: Postgresql) -> None:
    """Return once both servers listen."""
    async with asyncio.timeout(DEADLINE_S):
        while len(await asyncio.to_thread(postgresql.administer, _LISTENING)) < 2:
            continue


@pytest.fixture
def nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a wake-up makes a server look again."""
    for module in (services, events):
        monkeypatch.setattr(module, "RECHECK_S", 3600.0)


@pytest.mark.usefixtures("nobody_looks")
async def test_a_phone_at_one_server_hears_at_once_of_a_payment_at_the_other(
    folders: tuple[StateFolder, StateFolder], postgresql: Postgresql
) -> None:
    async with both(folders) as (one, other), listening(one) as stream:
        await relays(postgresql)
        payment, _, challenge = await other.pending()
        told = await stream.next()
        assert (told.event, told.json()["challenge"]) == ("challenge", challenge)
        answer = await one.confirm(payment, one.devices.confirmation(payment, challenge))
        assert answer.json()["status"] == "captured"
        assert (await other.payment(payment))["status"] == "captured"
    assert booked(folders[0]) == 1


async def test_it_hears_of_it_when_every_wake_up_is_lost(
    folders: tuple[StateFolder, StateFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Relay, "send", lambda _self, _topic: None)
    async with both(folders) as (one, other), listening(one) as stream:
        _, _, challenge = await other.pending()
        assert (await stream.next()).json()["challenge"] == challenge


@pytest.mark.usefixtures("nobody_looks")
async def test_a_relay_whose_connections_broke_makes_others(
    folders: tuple[StateFolder, StateFolder], postgresql: Postgresql
) -> None:
    async with both(folders) as (one, other):
        await relays(postgresql)
        ended = await asyncio.to_thread(
            postgresql.administer,
            "SELECT pid, pg_terminate_backend(pid, 20000) FROM pg_stat_activity"
            " WHERE application_name = 'cigarjack-server relay'",
        )
        assert len(ended) == 4
        await relays(postgresql)
        async with listening(one) as stream:
            _, _, challenge = await other.pending()
            assert (await stream.next()).json()["challenge"] == challenge


def test_a_server_that_is_killed_in_a_call_leaves_it_to_the_other_and_it_is_charged_once(
    folders: tuple[StateFolder, StateFolder],
) -> None:
    devices = asyncio.run(_enrolled(folders[0]))
    for folder in folders:
        with (folder.path / "config.toml").open("a") as config:
            config.write("processor_timeout_s = 3.0\nprocessor_hang_s = 600.0\n")
    with started(folders[0].path) as first, started(folders[1].path) as second:
        servers = dict(zip(folders, (first, second), strict=True))
        with client(folders[1], second.ready["url"]) as http:
            made = http.post("/v1/payments", content=devices.request(), headers=JWT)
            assert made.status_code == 201
        payment = made.json()["id"]
        with client(folders[0], first.ready["url"]) as http:
            confirmation = devices.confirmation(payment, challenge_of(folders[0], payment))
            path = f"/v1/payments/{payment}/confirmation"
            assert http.post(path, content=confirmation, headers=JWT).status_code == 200
        caller = _caller(folders, payment)
        servers[caller].end(signal.SIGKILL)
        (survivor,) = set(folders) - {caller}
        with client(survivor, servers[survivor].ready["url"]) as http:
            assert wait_for_end(http, devices, payment)["status"] == "captured"
    assert booked(folders[0]) == 1
    audit = command(survivor.path, "audit")
    assert audit.returncode == 0, audit.stdout


async def _enrolled(folder: StateFolder) -> Devices:
    async with running(folder, database=folder.settings().database) as bench:
        await bench.enrol()
        bench.devices.method_id = await bench.add_method("tok_hang")
        return bench.devices


def _caller(folders: tuple[StateFolder, StateFolder], payment: str) -> StateFolder:
    """Whose call the processor has booked, without an answer so far."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not booked(folders[0]):
        assert time.monotonic() < deadline_s
    return next(
        folder
        for folder in folders
        for line in (folder.path / "trace.jsonl").read_text().splitlines()
        if (event := json.loads(line))["event"] == "processor_called"
        and event["payment"] == payment
    )

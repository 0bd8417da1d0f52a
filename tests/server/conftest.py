"""Fixtures: a running server with enrolled and paired devices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from server.state import StateFolder
from tests.postgresql import Postgresql
from tests.server.bench import Bench, Prepared, copied, make_folder, running, running_on
from tests.server.crash_scene import Crasher, starting_crasher
from tests.server.devices import Devices
from tests.server.renewal import Renewal
from tests.server.stripe_peer import KEY, SECRET, Wire, localstripe, stripe_wire

#: Either kind of database.
KINDS = ("sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql))


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, on either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'server.sqlite3'}"
    server: Postgresql = request.getfixturevalue("postgresql")
    return server.new_database()


@pytest.fixture
def empty_database(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Another of the same kind."""
    if database.startswith("sqlite"):
        return f"sqlite:///{tmp_path / 'another.sqlite3'}"
    server: Postgresql = request.getfixturevalue("postgresql")
    return server.new_database()


@pytest.fixture(scope="session")
def stripe() -> Iterator[str]:
    """The address of a localstripe."""
    with localstripe() as url:
        yield url


@pytest.fixture
async def wire(stripe: str) -> AsyncIterator[Wire]:
    """A way of the test's own to it."""
    async with stripe_wire(stripe) as wire:
        yield wire


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The folder of a server that has stopped, and the devices that it knows."""
    return _enrolled(make_folder(tmp_path_factory.mktemp("prepared") / "server"))


def _enrolled(folder: StateFolder) -> Prepared:
    async def enrol() -> Devices:
        async with running(folder, database=folder.settings().database) as bench:
            await bench.enrol()
            return bench.devices

    return folder, asyncio.run(enrol())


@pytest.fixture(scope="session")
def prepared_on_postgresql(
    postgresql: Postgresql, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Prepared, Renewal]:
    """Another, and how to have its database as it was."""
    url = postgresql.new_database()
    prepared = _enrolled(make_folder(tmp_path_factory.mktemp("prepared") / "server", database=url))
    return prepared, Renewal.of(url)


@pytest.fixture(params=KINDS)
def stopped(request: pytest.FixtureRequest, tmp_path: Path) -> Prepared:
    """A server of the test's own that does not run, on either kind of database."""
    if request.param == "sqlite":
        return copied(request.getfixturevalue("prepared"), tmp_path / "server")
    prepared, renewal = request.getfixturevalue("prepared_on_postgresql")
    renewal.renew()
    return copied(prepared, tmp_path / "server")


@pytest.fixture(scope="module")
def crasher() -> Iterator[Crasher]:
    with starting_crasher() as crasher:
        yield crasher


@pytest.fixture
async def bench(prepared: Prepared, tmp_path: Path) -> AsyncIterator[Bench]:
    """A server of the test's own."""
    async with running(*copied(prepared, tmp_path / "server")) as bench:
        yield bench


@pytest.fixture
async def hearing(prepared: Prepared, tmp_path: Path, wire: Wire) -> AsyncIterator[Bench]:
    """A server that charges by Stripe and hears its webhooks."""
    folder, devices = copied(prepared, tmp_path / "server")
    settings = {"stripe_key": KEY, "stripe_url": wire.url, "stripe_webhook_secret": SECRET}
    async with running(folder, devices, processor="stripe", **settings) as bench:
        bench.devices.method_id = await bench.add_method("pm_card_visa")
        yield bench


@pytest.fixture(scope="module", params=KINDS)
def module_database(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return "sqlite:///"
    server: Postgresql = request.getfixturevalue("postgresql")
    return server.new_database()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def module_bench(
    module_database: str, prepared: Prepared, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Bench]:
    path = tmp_path_factory.mktemp("module") / "server"
    async with running_on(module_database, prepared, path) as bench:
        yield bench


@pytest_asyncio.fixture(loop_scope="module")
async def shared(module_bench: Bench) -> AsyncIterator[Bench]:
    """One server for all tests of a module, with nothing pending before and after each, on either
    kind of database.
    """
    yield module_bench
    await module_bench.clear()

"""The attacked: a running server with its devices, and a stage of real processes."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fieldkit.cast import DEMO_CAST, load
from fieldkit.stage import SERVER, Stage
from server.state import StateFolder
from tests.adversaries.scene import findings
from tests.server.bench import Bench, make_folder, running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def attacked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    async with running(make_folder(tmp_path_factory.mktemp("server"))) as bench:
        await bench.enrol()
        yield bench


@pytest_asyncio.fixture(loop_scope="module")
async def server(attacked: Bench) -> AsyncIterator[Bench]:
    """One server for a module. After each attack nothing is pending and the audit is clean."""
    yield attacked
    await attacked.clear()
    assert findings(attacked.folder) == []


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def streets() -> AsyncIterator[Stage]:
    """Every party a process, on virtual air; a short path, for sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="cigarjack-") as folder:
        async with Stage(load(DEMO_CAST), Path(folder)) as stage:
            await stage.provision()
            yield stage


@pytest_asyncio.fixture(loop_scope="session")
async def stage(streets: Stage) -> AsyncIterator[Stage]:
    """After each attack nobody has died of it, and the books are clean."""
    yield streets
    assert [p.name for p in streets.processes.values() if p.ended_unasked] == []
    assert findings(StateFolder(streets.state(SERVER))) == []

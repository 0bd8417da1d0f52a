"""One stage for all journeys: every party a real process. Each test leaves it as it found it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from fieldkit import journeys
from fieldkit.cast import DEMO_CAST, load
from fieldkit.process import STOP_DEADLINE_S
from fieldkit.stage import Stage


@pytest.fixture(scope="package")
def stage_folder() -> Iterator[Path]:
    """A short path: sockets lie in it, and pytest's own folders are too deep for them."""
    with tempfile.TemporaryDirectory(prefix="cigarjack-") as folder:
        yield Path(folder)


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def provisioned(stage_folder: Path) -> AsyncIterator[Stage]:
    async with Stage(load(DEMO_CAST), stage_folder) as stage:
        await stage.provision()
        yield stage


@pytest_asyncio.fixture(loop_scope="session")
async def stage(provisioned: Stage) -> AsyncIterator[Stage]:
    """Everyone is running before the test; after it everyone still is, and the books are clean."""
    for agent, process in provisioned.processes.items():
        if not process.running and agent in provisioned.traces:
            await provisioned.restart(agent)
    yield provisioned
    ended = [p.name for p in provisioned.processes.values() if p.ended_unasked]
    assert ended == []
    findings = [c.findings for c in await journeys.audit(provisioned) if c.findings]
    assert findings == []
    async with asyncio.timeout(STOP_DEADLINE_S):
        for terminal in provisioned.cast.terminals:
            await provisioned.ask(terminal.name, "GET", "/v1/status")

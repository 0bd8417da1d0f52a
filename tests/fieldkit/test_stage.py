"""The stage's own rules; that it runs everything is tested by tests/journeys and the demo."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fieldkit.cast import DEMO_CAST, load
from fieldkit.process import CommandFailedError, StageError
from fieldkit.stage import SERVER, Stage
from fieldkit.venue import AIR


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="cj-") as folder:
        async with Stage(load(DEMO_CAST), Path(folder), seed=11) as stage:
            yield stage


def test_agents_are_commands_with_a_state_folder(stage: Stage) -> None:
    assert stage.by_hand("jack") == f"cigarjack --state {stage.folder}/jack"
    assert stage.by_hand("phone") == f"phone-agent --state {stage.folder}/phone"
    assert stage.by_hand("pump-3") == f"payment-device --state {stage.folder}/pump-3"
    assert stage.by_hand(SERVER) == f"cigarjack-server --state {stage.folder}/server"


async def test_the_server_comes_back_where_its_devices_have_pinned_it(stage: Stage) -> None:
    await stage.cli(SERVER, "init", "--host", "127.0.0.1", "--port", "0")
    await stage.start(SERVER)
    url = stage.processes[SERVER].ready["url"]
    first = stage.traces[SERVER].events()[0]
    await stage.kill(SERVER)
    await stage.restart(SERVER)
    assert stage.processes[SERVER].ready["url"] == url
    again = await stage.traces[SERVER].wait("agent_started", after_ns=first.mono_ns + 1)
    assert again.boot == first.boot
    with pytest.raises(StageError, match="runs already"):
        await stage.start(SERVER)


async def test_a_command_that_fails_is_named(stage: Stage) -> None:
    why = r"cigarjack-server audit failed \(exit code 2\): there is no server in"
    with pytest.raises(CommandFailedError, match=why):
        await stage.cli(SERVER, "audit")
    with pytest.raises(StageError, match="did not print JSON"):
        await stage.cli(SERVER, "init", "--help")


async def test_leaving_the_stage_ends_everyone(stage: Stage) -> None:
    async with Stage(load(DEMO_CAST), stage.folder / "inner") as inner:
        await inner.cli(SERVER, "init", "--port", "0")
        await inner.start(SERVER)
    assert not inner.processes[SERVER].running
    assert not inner.processes[SERVER].ended_unasked
    assert AIR not in inner.processes

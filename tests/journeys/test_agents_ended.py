"""How an agent ended is told by the last line of its trace."""

from __future__ import annotations

import pytest

from fieldkit.stage import SERVER, Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("party", ["jack", "phone", "terminal", "server"])
async def test_an_orderly_end_is_noted_and_a_sudden_one_is_not(stage: Stage, party: str) -> None:
    agent = {
        "jack": stage.cast.jack.name,
        "phone": stage.cast.phone.name,
        "terminal": stage.cast.terminals[-1].name,
        "server": SERVER,
    }[party]
    assert await stage.processes[agent].stop() == 0
    assert stage.traces[agent].events()[-1].event == "agent_stopped"
    await stage.restart(agent)
    await stage.kill(agent)
    last = stage.traces[agent].events()[-1]
    assert (last.party, last.event == "agent_stopped") == (party, False)
    await stage.restart(agent)

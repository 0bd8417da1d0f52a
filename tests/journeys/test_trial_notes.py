"""A field trial is named, marked and stopped from the command line, at every agent at once."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest

from fieldkit.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")

MARKED = "car arrives at lane 1"


async def trial(stage: Stage, *arguments: str) -> tuple[int, dict[str, Any]]:
    """``fieldkit trial … --json`` on the machine of terminal, jack and phone."""
    agents = (stage.cast.terminals[0].name, stage.cast.jack.name, stage.cast.phone.name)
    states = [part for agent in agents for part in ("--state", str(stage.state(agent)))]
    line = ["-m", "fieldkit", "trial", *arguments, *states, "--json"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *line, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, error = await process.communicate()
    return process.returncode or 0, json.loads(out or error)


async def test_a_trial_from_its_start_to_its_end(stage: Stage) -> None:
    jack = stage.cast.jack.name
    code, _ = await trial(stage, "start", "monday-1")
    assert code == 0
    await stage.processes[jack].stop()
    await stage.restart(jack)
    _, told = await trial(stage, "status")
    assert [agent["trial"] for agent in told["agents"]] == ["monday-1"] * 3
    code, refused = await trial(stage, "start", "tuesday")
    assert (code, refused["error"]["code"]) == (1, "not_told")
    truth = ("--at-lane", "lane-1", "--jack", jack)
    assert (await trial(stage, "mark", MARKED, *truth))[0] == 0
    assert (await trial(stage, "stop"))[0] == 0
    assert (await trial(stage, "stop"))[0] == 1
    await stage.settled()
    for agent in (stage.cast.terminals[0].name, jack, stage.cast.phone.name):
        noted = [event for event in stage.traces[agent].events() if "trial" in event.event]
        assert [event.event for event in noted] == [
            "trial_started",
            "trial_marked",
            "trial_stopped",
        ]
        assert {event.fields["trial"] for event in noted} == {"monday-1"}
        assert noted[1].fields["text"] == MARKED
        assert noted[1].fields["truth"] == {
            "kind": "at_lane",
            "lane": "lane-1",
            "jack": jack,
            "present": True,
        }

"""What a real lane records is enough to decide every one of its answers again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from fieldkit.trials.archive import Trial
from fieldkit.trials.replaying import replay
from fieldkit.trials.terminal_record import recordings
from payment_device.lane_radio import LaneRadio, nowhere
from payment_device.sightings import LaneRules, Sightings
from tests.payment_device.lane import CODE, Air, MemoryRadio
from twochannel.advert_recording import FILE_NAME, AdvertRecording
from twochannel.ring import USUAL
from twochannel.trace import Trace

OTHER = bytes.fromhex("fedcba9876543210")
RULES = LaneRules(min_rssi_dbm=-70.0)


@asynccontextmanager
async def lane(state: Path, air: Air) -> AsyncIterator[LaneRadio]:
    """One run of a lane that records into ``state``."""
    trace = Trace("terminal", state / "trace.jsonl", boot="b")
    recording = AdvertRecording(state / FILE_NAME, USUAL)
    radio = LaneRadio(
        lambda: MemoryRadio(air), Sightings(RULES), trace, 0.2, nowhere, recording=recording
    )
    trace.event("agent_started")
    with trace, closing(recording):
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(radio.run())
            await radio.opened.wait()
            yield radio
            listening.cancel()


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    agent = {"name": "lane-1", "party": "terminal", "module": "payment_device"}
    machines = [{"name": "lane-pi", "agents": [agent]}]
    manifest = {"format": 1, "trial": "monday", "machines": machines, "files": {}}
    (tmp_path / "trial.json").write_text(json.dumps(manifest))
    return tmp_path


async def test_every_decision_comes_out_the_same(trial: Path) -> None:
    state = trial / "lane-pi" / "lane-1"
    for _run in range(2):
        air = Air()
        async with lane(state, air) as radio:
            assert await radio.choose(payment="p-0") is not None
            air.jack(CODE, -50)
            await radio.choose(payment="p-1")
            async with air.standing((CODE, -51), (OTHER, -58), swing_db=5):
                await radio.choose(payment="p-2")
                await radio.choose("fedc", payment="p-3")
                radio.look()
    one, other = recordings(Trial.open(trial))
    assert (one.lane, one.rules, other.rules) == ("lane-1", RULES, RULES)
    for recording in (one, other):
        assert next(d.payment for d in recording.decisions if d.payment) == "p-0"
        assert {"p-1", "p-2", "p-3"} <= {decision.payment for decision in recording.decisions}
        again = list(replay(recording))
        assert [one.reason for one in again] == [None] * len(recording.decisions)
        assert not [one for one in again if one.differs]
        assert len({one.decision.answer.outcome for one in again}) == 3
    (stretch,) = one.stretches
    assert stretch.after > 40


async def test_other_rules_decide_otherwise(trial: Path) -> None:
    air = Air()
    async with lane(trial / "lane-pi" / "lane-1", air) as radio:
        air.jack(CODE, -72)
        await radio.choose(payment="p-1")
    (recording,) = recordings(Trial.open(trial))
    assert not any(one.differs for one in replay(recording))
    assert any(one.differs for one in replay(recording, LaneRules(min_rssi_dbm=-75.0)))


async def test_an_answer_that_stays_is_not_told_at_every_look(trial: Path) -> None:
    air = Air()
    async with lane(trial / "lane-pi" / "lane-1", air) as radio:
        air.jack(CODE, -50)
        await radio.choose(payment="p-1")
        for _ in range(1000):
            radio.look()
    (recording,) = recordings(Trial.open(trial))
    assert len(recording.decisions) < 20

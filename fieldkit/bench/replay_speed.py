"""``fieldkit bench replay``: how fast recorded adverts and decisions go through the sightings.

What is replayed is made here: the adverts that the lanes of a scenario of ``fieldkit world`` hear,
and a decision each second, as a terminal records it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from fieldkit.bench.progress import BenchProgress
from fieldkit.bench.quantiles import Summary, summary
from fieldkit.process import StageError
from fieldkit.trials.lane_recording import (
    Answer,
    Decision,
    HeardAdvert,
    LaneRecording,
    Outcome,
    Stretch,
)
from fieldkit.trials.replaying import replay
from fieldkit.world import hearing, traffic
from fieldkit.world.scenario import SCENARIOS_FOLDER, load
from payment_device.sightings import LaneRules

#: A busy place: four lanes that hear each other's cars.
SCENARIO: Final = "four-lane-toll"
_DECISION_US: Final = 1_000_000
_NONE: Final = Answer(Outcome.NONE)


@dataclass(frozen=True, slots=True)
class ReplayFigures:
    """Of one lane each: what was replayed, and how fast, over all rounds.

    ``recorded_s``: how long a terminal heard that, without the pauses between.
    """

    scenario: str
    lanes: int
    adverts: int
    decisions: int
    recorded_s: float
    adverts_per_s: Summary
    times_real: Summary


async def measure(rounds: int, progress: BenchProgress) -> ReplayFigures:
    """Replay all lanes ``rounds`` times. StageError if one does not come out as the first."""
    progress.step("what the lanes hear")
    recordings = [settled(recording) for recording in recorded_lanes()]
    progress.step("replays", rounds)
    took_s = []
    for _ in range(rounds):
        began_s = time.perf_counter()
        differing = sum(one.differs for recording in recordings for one in replay(recording))
        took_s.append(time.perf_counter() - began_s)
        if differing:
            raise StageError(f"{differing} decisions did not come out as before")
        progress.advance()
    adverts = sum(recording.adverts for recording in recordings)
    recorded_s = sum(_heard_s(recording) for recording in recordings)
    return ReplayFigures(
        SCENARIO,
        len(recordings),
        adverts,
        sum(len(recording.decisions) for recording in recordings),
        recorded_s,
        summary([adverts / seconds for seconds in took_s]),
        summary([recorded_s / seconds for seconds in took_s]),
    )


def recorded_lanes() -> Iterator[LaneRecording]:
    """A recording of each lane of the scenario, without answers yet."""
    scenario = load(SCENARIOS_FOLDER / f"{SCENARIO}.toml")
    air = hearing.listen(scenario, traffic.day(scenario, scenario.seed), scenario.seed)
    for lane, heard in zip(scenario.lanes, air.lanes, strict=True):
        adverts = [
            HeardAdvert(round(at_s * 1e6), air.codes[code], rssi_dbm)
            for at_s, code, rssi_dbm in zip(heard.at_s, heard.codes, heard.rssi_dbm, strict=True)
        ]
        stretch = Stretch(0, adverts)
        yield LaneRecording(
            "bench", lane.name, 1, LaneRules(), [stretch], list(_decisions(adverts))
        )


def _decisions(adverts: Sequence[HeardAdvert]) -> Iterator[Decision]:
    """One a second, as long as anything is heard."""
    due_us = 0
    for number, advert in enumerate(adverts):
        if advert.mono_us >= due_us:
            due_us = advert.mono_us + _DECISION_US
            yield Decision(advert.mono_us, number, "shown", _NONE)


def settled(recording: LaneRecording) -> LaneRecording:
    """With the answers of today's code in place."""
    decisions = [replace(r.decision, answer=r.answer or _NONE) for r in replay(recording)]
    return replace(recording, decisions=decisions)


def _heard_s(recording: LaneRecording) -> float:
    """A decision stands for the second after it."""
    return len(recording.decisions) * _DECISION_US / 1e6

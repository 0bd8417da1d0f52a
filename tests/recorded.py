"""What a terminal heard, read from its recording as a trial's is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from fieldkit.trials.archive import Trial
from fieldkit.trials.lane_recording import LaneRecording
from fieldkit.trials.terminal_record import recordings

#: The trial that ships with the project.
EXAMPLE: Final = Path(__file__).parents[1] / "seeds" / "trials" / "example.trial"

#: The code and the level in dBm of each advert, in order.
Heard = list[tuple[bytes, int]]


def heard(lane: LaneRecording) -> Heard:
    return [(advert.code, advert.rssi_dbm) for s in lane.stretches for advert in s.adverts]


def heard_in(trial: Path, lane: str) -> Heard:
    """By one terminal of a trial."""
    return next(heard(each) for each in recordings(Trial.open(trial)) if each.lane == lane)


def heard_by(state: Path) -> Heard:
    """By the terminal of this state folder, which is moved."""
    agent = {"name": state.name, "party": "terminal"}
    trial = state.parent / "again"
    (trial / "pi").mkdir(parents=True)
    state.rename(trial / "pi" / state.name)
    manifest = {"format": 1, "trial": "again", "machines": [{"name": "pi", "agents": [agent]}]}
    (trial / "trial.json").write_text(json.dumps(manifest))
    return heard_in(trial, state.name)

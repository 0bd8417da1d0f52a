"""When a terminal heard nothing although a jack was near and sending. Pure.

A gap counts if the lane heard a jack strongly enough to be at it right before and right after, and
a jack of the trial was sending all the while: a car that drives away fades before it is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from fieldkit.trials.timeline import Happening, Timeline
from payment_device.sightings import MAX_RSSI_DBM, LaneRules

#: Twenty adverts of a jack. Ten are lost by chance less than once in 1000 gaps even at 50 % loss.
BLIND_FROM_NS: Final = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Blindness:
    """``why``: what the traces say of it."""

    terminal: str
    from_ns: int
    to_ns: int
    why: str

    @property
    def length_s(self) -> float:
        return (self.to_ns - self.from_ns) / 1e9


def blind_windows(timeline: Timeline) -> list[Blindness]:
    """All gaps of all terminals, oldest first."""
    found = []
    for terminal, heard in heard_by(timeline).items():
        least_dbm = threshold_dbm(timeline, terminal)
        for before, after in pairwise(heard):
            near = min(before.field("rssi_dbm"), after.field("rssi_dbm")) >= least_dbm
            long_enough = after.at_ns - before.at_ns >= BLIND_FROM_NS
            if near and long_enough and _sending(timeline, before.at_ns, after.at_ns):
                why = _why(timeline, terminal, before.at_ns, after.at_ns)
                found.append(Blindness(terminal, before.at_ns, after.at_ns, why))
    return sorted(found, key=lambda window: window.from_ns)


def heard_by(timeline: Timeline) -> dict[str, list[Happening]]:
    """What each terminal noted of adverts with a level, oldest first."""
    heard: dict[str, list[Happening]] = {
        agent: [] for agent, party in timeline.agents.items() if party == "terminal"
    }
    for happening in timeline.named("code_heard"):
        if happening.field("rssi_dbm") > MAX_RSSI_DBM:
            continue  # the adapter had no level for it
        heard.setdefault(happening.agent, []).append(happening)
    return heard


def threshold_dbm(timeline: Timeline, terminal: str) -> float:
    """The level that a jack at this lane has at least; the usual one if its rules are not noted."""
    rules = timeline.latest(terminal, timeline.ended_ns, ("lane_rules",))
    told = rules.field("min_rssi_dbm") if rules else None
    return float(told) if told is not None else LaneRules().min_rssi_dbm


def _sending(timeline: Timeline, from_ns: int, to_ns: int) -> bool:
    """Whether a jack was on the air from before until after, and never silent in between."""
    changes = ("beacon_rotated", "beacon_silent", "agent_started")
    for jack in (agent for agent, party in timeline.agents.items() if party == "jack"):
        state = timeline.latest(jack, from_ns, changes)
        during = timeline.of_agent(jack, from_ns, to_ns, changes)
        if state and all(h.name == "beacon_rotated" for h in (state, *during)):
            return True
    return False


def _why(timeline: Timeline, terminal: str, from_ns: int, to_ns: int) -> str:
    """A radio that was lost before may still have handed on what it had heard."""
    known = timeline.latest(terminal, from_ns, ("radio_lost", "radio_recovered"))
    noted = timeline.of_agent(terminal, from_ns, to_ns, ("radio_lost", "agent_started"))
    for happening in ([known] if known else []) + noted:
        if happening.name == "radio_lost":
            return f"radio lost: {happening.field('reason') or 'no reason noted'}"
        if happening.name == "agent_started":
            return "the agent was restarted"
    return "not explained by the recording"

"""When a terminal heard nothing although a jack was near and sending. Pure.

A gap counts if the lane heard a jack strongly enough to be at it right before and right after, and
a jack of the trial was sending all the while: a car that drives away fades before it is gone. Both
must be so wherever in their bounds the times were.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from fieldkit.trials.alignment import Relation
from fieldkit.trials.timeline import Happening, Timeline
from payment_device.sightings import MAX_RSSI_DBM, LaneRules

#: Twenty adverts of a jack. Ten are lost by chance less than once in 1000 gaps even at 50 % loss.
BLIND_FROM_NS: Final = 2_000_000_000
_CHANGES: Final = ("beacon_rotated", "beacon_silent", "agent_started")


@dataclass(frozen=True, slots=True)
class Blindness:
    """``within_ns``: the uncertainty of both ends. ``why``: what the traces say of it."""

    terminal: str
    from_ns: int
    to_ns: int
    within_ns: float
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
            long_enough = _least_ns(before, after) >= BLIND_FROM_NS
            if near and long_enough and _sending(timeline, before, after):
                found.append(_blindness(timeline, before, after))
    return sorted(found, key=lambda window: window.from_ns)


def _blindness(timeline: Timeline, before: Happening, after: Happening) -> Blindness:
    terminal, from_ns, to_ns = before.agent, before.at_ns, after.at_ns
    within_ns = max(before.within_ns, after.within_ns)
    return Blindness(terminal, from_ns, to_ns, within_ns, _why(timeline, terminal, from_ns, to_ns))


def _least_ns(before: Happening, after: Happening) -> float:
    """How long it was at least: two boots of a terminal are two clocks."""
    doubt_ns = 0.0 if before.clock == after.clock else before.within_ns + after.within_ns
    return after.at_ns - before.at_ns - doubt_ns


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


def _sending(timeline: Timeline, before: Happening, after: Happening) -> bool:
    """Whether a jack was for sure on the air from before until after, never silent in between."""
    jacks = (agent for agent, party in timeline.agents.items() if party == "jack")
    return any(_on_air(timeline, jack, before, after) for jack in jacks)


def _on_air(timeline: Timeline, jack: str, before: Happening, after: Happening) -> bool:
    told = timeline.of_agent(jack, timeline.began_ns, timeline.ended_ns, _CHANGES)
    known = [h for h in told if timeline.order(h, before) is Relation.BEFORE]
    perhaps_since = [
        h
        for h in told
        if timeline.order(h, before) is not Relation.BEFORE
        and timeline.order(h, after) is not Relation.AFTER
    ]
    return bool(known) and all(h.name == "beacon_rotated" for h in (known[-1], *perhaps_since))


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

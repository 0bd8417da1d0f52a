"""Which car was really at which lane, as people marked it, and what the lanes decided. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fieldkit.trials.attempts import Attempt
from fieldkit.trials.clock_truth import true_clock
from fieldkit.trials.timeline import Timeline
from payment_device.sightings import Ambiguity


class AtLane(StrEnum):
    """What was marked for the lane at that moment."""

    JACK = "a car with its jack"
    NOBODY = "no jack"


class Decided(StrEnum):
    RIGHT = "right jack"
    OTHER = "another jack"
    AMBIGUOUS = "ambiguous"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Presence:
    """Who is at a lane for a while; ``jack`` empty: nobody with one. ``to_ns``: None for ever."""

    lane: str
    jack: str
    from_ns: int
    to_ns: int | None


def presences(timeline: Timeline, truth: Mapping[str, Any] | None = None) -> list[Presence]:
    """What the player of a virtual trial says, or else the marks of people; oldest first."""
    at_ns = true_clock(timeline.alignment, truth)
    if at_ns is None or truth is None:
        return _marked(timeline)
    stays = [
        Presence(s["lane"], s["jack"], at_ns(s["from_true_us"]), at_ns(s["to_true_us"]))
        for s in truth.get("at_lane", ())
    ]
    # The player knows of all the time in between, too.
    lanes = dict.fromkeys(stay.lane for stay in stays)
    return [*(Presence(lane, "", timeline.began_ns, None) for lane in lanes), *stays]


def _marked(timeline: Timeline) -> list[Presence]:
    """Each mark of a lane says who is there from then on."""
    begun: dict[str, tuple[str, int]] = {}
    found = []
    for mark in timeline.named("trial_marked"):
        truth = mark.field("truth")
        if not isinstance(truth, dict) or truth.get("kind") != "at_lane":
            continue
        lane, jack = str(truth.get("lane")), str(truth.get("jack") or "")
        there, from_ns = begun.get(lane, ("", mark.at_ns))
        if not truth.get("present") and jack not in {"", there}:
            continue  # another than who is there has gone
        if lane in begun:
            found.append(Presence(lane, there, from_ns, mark.at_ns))
        begun[lane] = (jack if truth.get("present") else "", mark.at_ns)
    found += [Presence(lane, jack, from_ns, None) for lane, (jack, from_ns) in begun.items()]
    return sorted(found, key=lambda presence: presence.from_ns)


def at_lane(marked: Sequence[Presence], names: frozenset[str], at_ns: int) -> list[str] | None:
    """The jacks at the lane of one of these ``names`` then; None if nobody marked it."""
    there = [
        presence.jack
        for presence in marked
        if presence.lane in names
        and presence.from_ns <= at_ns
        and (presence.to_ns is None or at_ns < presence.to_ns)
    ]
    return [jack for jack in there if jack] if there else None


def confusion(
    attempts: Sequence[Attempt], marked: Sequence[Presence]
) -> Counter[tuple[AtLane, Decided]]:
    """How often each truth met each decision, over what tills asked at marked lanes."""
    matrix: Counter[tuple[AtLane, Decided]] = Counter()
    for attempt in attempts:
        names = _names(attempt.terminal_machine, attempt.terminal)
        present = at_lane(marked, names, attempt.asked_ns)
        decided = _decided(attempt, present or [])
        if present is not None and decided is not None:
            matrix[AtLane.JACK if present else AtLane.NOBODY, decided] += 1
    return matrix


def _decided(attempt: Attempt, present: Sequence[str]) -> Decided | None:
    missed = attempt.first("terminal", "jack_not_chosen")
    if missed is not None:
        ambiguous = missed.field("reason") in set(Ambiguity)
        return Decided.AMBIGUOUS if ambiguous else Decided.NONE
    chosen = attempt.first("terminal", "jack_chosen")
    if chosen is None:
        return None
    names = _names(attempt.jack_machine, attempt.jack) | {str(chosen.field("jack"))}
    return Decided.RIGHT if names & set(present) else Decided.OTHER


def _names(machine: str, agent: str) -> frozenset[str]:
    """By what people call an agent: its own name, with its machine's or without."""
    return frozenset({machine, agent, agent.rpartition("/")[2]}) - {""}

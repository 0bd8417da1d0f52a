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
    """A jack at a lane, from one mark to the next. ``to_ns``: None if nobody marked its going."""

    lane: str
    jack: str
    from_ns: int
    to_ns: int | None


def presences(timeline: Timeline, truth: Mapping[str, Any] | None = None) -> list[Presence]:
    """What the player of a virtual trial says, or else the marks of people; oldest first."""
    at_ns = true_clock(timeline.alignment, truth)
    if at_ns is not None and truth is not None:
        return [
            Presence(s["lane"], s["jack"], at_ns(s["from_true_us"]), at_ns(s["to_true_us"]))
            for s in truth.get("at_lane", ())
        ]
    return _marked(timeline)


def _marked(timeline: Timeline) -> list[Presence]:
    """The marks of ``kind`` at_lane, from one that says present to the one that says not."""
    open_marks: dict[tuple[str, str], int] = {}
    found = []
    for mark in timeline.named("trial_marked"):
        truth = mark.field("truth")
        if not isinstance(truth, dict) or truth.get("kind") != "at_lane":
            continue
        key = (str(truth.get("lane")), str(truth.get("jack")))
        if truth.get("present"):
            open_marks.setdefault(key, mark.at_ns)
        elif key in open_marks:
            found.append(Presence(*key, open_marks.pop(key), mark.at_ns))
    found += [Presence(*key, from_ns, None) for key, from_ns in open_marks.items()]
    return sorted(found, key=lambda presence: presence.from_ns)


def at_lane(marked: Sequence[Presence], names: frozenset[str], at_ns: int) -> list[str]:
    """The jacks at the lane of one of these ``names`` then."""
    return [
        presence.jack
        for presence in marked
        if presence.lane in names
        and presence.from_ns <= at_ns
        and (presence.to_ns is None or at_ns < presence.to_ns)
    ]


def confusion(
    attempts: Sequence[Attempt], marked: Sequence[Presence]
) -> Counter[tuple[AtLane, Decided]]:
    """How often each truth met each decision, over what tills asked at lanes with marks."""
    lanes = {presence.lane for presence in marked}
    matrix: Counter[tuple[AtLane, Decided]] = Counter()
    for attempt in attempts:
        names = _names(attempt.terminal_machine, attempt.terminal)
        present = at_lane(marked, names, attempt.asked_ns)
        truth = AtLane.JACK if present else AtLane.NOBODY
        decided = _decided(attempt, present)
        if decided is not None and names & lanes:
            matrix[truth, decided] += 1
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

"""What one run of a terminal heard and decided, as far as it was recorded. Pure.

A run counts its adverts from 1. Where the ring has turned or a disk was full some are missing; what
is left lies in *stretches* without a hole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from payment_device.sightings import Ambiguous, Choice, Chosen, LaneRules

#: ``LaneRules`` by name.
RULE_NAMES: Final = tuple(LaneRules.__dataclass_fields__)


class Outcome(StrEnum):
    """What a lane answered."""

    CHOSEN = "chosen"
    AMBIGUOUS = "ambiguous"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Answer:
    """A ``Choice`` as it is recorded: codes by their handles.

    ``jack``, ``others``: of one that was chosen. ``candidates``: handle and level in dBm of each
    that the answer names, strongest first.
    """

    outcome: Outcome
    reason: str | None = None
    jack: str | None = None
    others: int | None = None
    candidates: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        if self.outcome is Outcome.CHOSEN:
            return f"chosen {self.jack}"
        named = ", ".join(handle for handle, _ in self.candidates)
        return f"{self.outcome} ({self.reason}{': ' if named else ''}{named})"

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "outcome": self.outcome.value,
            "reason": self.reason,
            "jack": self.jack,
            "others": self.others,
            "candidates": [
                {"jack": handle, "rssi_dbm": rssi_dbm} for handle, rssi_dbm in self.candidates
            ],
        }


@dataclass(frozen=True, slots=True)
class HeardAdvert:
    """One advert with a beacon code, as the sightings were fed with it."""

    mono_us: int
    code: bytes = field(repr=False)
    rssi_dbm: int


@dataclass(frozen=True, slots=True)
class Decision:
    """One answer and what it was made of.

    ``adverts``: how many of its run had been heard. ``elsewhere``: how well other lanes heard a
    code, in dB, by a prefix of its hex digits. ``picked``: the handle that the attendant named.
    """

    now_us: int
    adverts: int
    asked: str
    answer: Answer
    payment: str | None = None
    picked: str | None = None
    elsewhere: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Adverts without a hole; ``before``: how many of the run came before, recorded or not."""

    before: int
    adverts: Sequence[HeardAdvert]

    @property
    def after(self) -> int:
        """How many of the run there were with the last of these."""
        return self.before + len(self.adverts)


@dataclass(frozen=True, slots=True)
class LaneRecording:
    """One run of one terminal. ``run`` counts from 1. ``rules``: by which it decided.

    ``stretches`` ascend. ``asked_us``: by payment, when its charge was asked.
    """

    machine: str
    lane: str
    run: int
    rules: LaneRules | None
    stretches: Sequence[Stretch]
    decisions: Sequence[Decision]
    asked_us: Mapping[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As it is shown to people."""
        return f"{self.machine}/{self.lane} run {self.run}"

    @property
    def adverts(self) -> int:
        """How many are recorded."""
        return sum(len(stretch.adverts) for stretch in self.stretches)

    @property
    def span_s(self) -> float:
        """From the first advert or decision to the last."""
        times = [advert.mono_us for s in self.stretches for advert in (s.adverts[0], s.adverts[-1])]
        times += [decision.now_us for decision in self.decisions]
        return (max(times) - min(times)) / 1e6 if times else 0.0


def answer_of(choice: Choice) -> Answer:
    """A choice as a terminal records it."""
    if isinstance(choice, Chosen):
        jack = choice.jack
        shown = ((jack.handle, jack.rssi_dbm),)
        return Answer(Outcome.CHOSEN, None, jack.handle, choice.others, shown)
    if isinstance(choice, Ambiguous):
        candidates = tuple((jack.handle, jack.rssi_dbm) for jack in choice.candidates)
        return Answer(Outcome.AMBIGUOUS, choice.reason.value, candidates=candidates)
    return Answer(Outcome.NONE, choice.reason.value)

"""Questions whose right answer is known, put to the terminal's own code under many rules at once.

A place (recorded or simulated) plays what its lanes heard once for each set of rules to be tried,
and asks as ``payment_device.lane_radio`` does: again and again until a jack is chosen or patience
ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from fieldkit.trials.lane_recording import Answer, answer_of
from fieldkit.world.scenario import QUESTION_S
from fieldkit.world.tally import Outcome
from payment_device.lane_radio import AMBIGUOUS_PATIENCE_S
from payment_device.sightings import Ambiguous, Choice, Chosen, LaneRules

#: How often is asked again: about a jack's interval.
STEP_S: Final = 0.1
#: Times are sums of tenths of a second.
_ROUNDING_S: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Question:
    """``name``: as people find it again. ``group``: whose visit it is of.

    ``jack_there``: whether a jack stands at the lane that could be chosen.
    """

    name: str
    lane: str
    group: str
    jack_there: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of one question (by number) under one set of rules (by number)."""

    question: int
    rules: int
    outcome: Outcome
    answer: Answer


class Place(Protocol):
    """Where questions were asked."""

    @property
    def name(self) -> str: ...

    @property
    def questions(self) -> Sequence[Question]: ...

    @property
    def usual(self) -> LaneRules:
        """By which it decided, or would."""
        ...

    @property
    def shares(self) -> bool:
        """Whether its lanes tell each other what they hear."""
        ...

    def play(self, candidates: Sequence[LaneRules]) -> Iterator[Judged]:
        """Every question under every set of rules."""
        ...


class Asking:
    """One question, open until it is answered under every set of rules."""

    def __init__(self, asked_s: float, candidates: Sequence[LaneRules]) -> None:
        self._asked_s = asked_s
        self._candidates = candidates
        self._open = list(range(len(candidates)))

    @property
    def open(self) -> bool:
        return bool(self._open)

    def look(
        self, choose: Callable[[LaneRules], Choice], now_s: float
    ) -> Iterator[tuple[int, Choice]]:
        """Ask where it is still open; what is answered by it, by number of the rules."""
        after_s, still = now_s - self._asked_s + _ROUNDING_S, []
        for number in self._open:
            choice = choose(self._candidates[number])
            patience_s = AMBIGUOUS_PATIENCE_S if isinstance(choice, Ambiguous) else QUESTION_S
            if isinstance(choice, Chosen) or after_s >= patience_s:
                yield number, choice
            else:
                still.append(number)
        self._open = still


def judged(question: int, rules: int, choice: Choice, *, right: bool) -> Judged:
    """``right``: whether the jack that was chosen, if one was, is the one that stands there."""
    if isinstance(choice, Chosen):
        outcome = Outcome.RIGHT if right else Outcome.WRONG
    else:
        outcome = Outcome.AMBIGUOUS if isinstance(choice, Ambiguous) else Outcome.NONE
    return Judged(question, rules, outcome, answer_of(choice))

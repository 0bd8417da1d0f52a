"""What came of the questions of a run, counted. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import quantiles
from typing import Any

from fieldkit.shares import wilson


class Truth(StrEnum):
    """Who stands at the lane when its till asks."""

    JACK = "jack"
    CAR_WITHOUT = "car_without_jack"
    NOBODY = "nobody"


class Culprit(StrEnum):
    """Whose jack was chosen in place of the right one.

    ``REPLAYED``: a code whose jack is not here, so that it cannot have heard the lane's nonce and
    no phone approves by itself. ``RELAYED``: a code whose jack is near enough to have heard it.
    """

    SAME_LANE = "same_lane"
    OTHER_LANE = "other_lane"
    BYSTANDER = "bystander"
    REPLAYED = "replayed"
    RELAYED = "relayed"


class Outcome(StrEnum):
    """What the till is told. ``NONE`` is right if there is no jack, and a miss if there is one."""

    RIGHT = "right"
    WRONG = "wrong"
    AMBIGUOUS = "ambiguous"
    NONE = "none"


@dataclass(slots=True)
class Tally:
    """One way to decide, over many questions.

    ``reasons``: why no jack was chosen. ``decided_s``: how long a right choice took, from the
    question. ``culprits``: whose jack was chosen when the choice was wrong.
    """

    matrix: Counter[tuple[Truth, Outcome]] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    decided_s: list[float] = field(default_factory=list)
    culprits: Counter[Culprit] = field(default_factory=Counter)

    def count(self, truth: Truth, outcome: Outcome, after_s: float, reason: str) -> None:
        """One question has been answered."""
        self.matrix[truth, outcome] += 1
        if outcome is Outcome.RIGHT:
            self.decided_s.append(after_s)
        elif outcome is not Outcome.WRONG:
            self.reasons[reason] += 1

    def add(self, other: Tally) -> None:
        """Count what another run has counted."""
        self.matrix += other.matrix
        self.reasons += other.reasons
        self.decided_s += other.decided_s
        self.culprits += other.culprits

    @property
    def questions(self) -> int:
        return self.matrix.total()

    @property
    def wrong(self) -> int:
        return self.of(Outcome.WRONG)

    def of(self, outcome: Outcome, truth: Truth | None = None) -> int:
        """How many ended like that, of those with this truth, or of all."""
        return sum(
            number
            for (was, became), number in self.matrix.items()
            if became is outcome and truth in (None, was)
        )

    def asked(self, truth: Truth) -> int:
        """How many questions had this truth."""
        return sum(number for (was, _), number in self.matrix.items() if was is truth)

    def share(self, outcome: Outcome, truth: Truth | None = None) -> float:
        """As a share from 0 to 1; 0 if nothing was asked."""
        asked = self.questions if truth is None else self.asked(truth)
        return self.of(outcome, truth) / asked if asked else 0.0

    def decided_at(self, percent: int) -> float | None:
        """Within how many seconds so many of the right choices were made; None: there are none."""
        if len(self.decided_s) < 2:
            return self.decided_s[0] if self.decided_s else None
        return quantiles(self.decided_s, n=100, method="inclusive")[percent - 1]

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "questions": self.questions,
            "matrix": {
                truth.value: {outcome.value: self.matrix[truth, outcome] for outcome in Outcome}
                for truth in Truth
            },
            "wrong_share": self.share(Outcome.WRONG),
            "wrong_share_at_most": at_most(self.wrong, self.questions),
            "ambiguous_share": self.share(Outcome.AMBIGUOUS),
            "culprits": {culprit.value: self.culprits[culprit] for culprit in Culprit},
            "reasons": dict(sorted(self.reasons.items())),
            "decided_s": {"median": self.decided_at(50), "95 %": self.decided_at(95)},
        }


def at_most(events: int, trials: int) -> float:
    """The upper end of Wilson's 95 % interval of a share: what the truth hardly exceeds."""
    return wilson(events, trials)[1]

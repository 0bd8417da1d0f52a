"""A question that a till has put, asked of several ways to decide at once, each at some margins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fieldkit.world.scenario import QUESTION_S
from fieldkit.world.traffic import Question
from payment_device.lane_radio import AMBIGUOUS_PATIENCE_S
from payment_device.sightings import Ambiguous, Choice, Chosen

#: Times are sums of tenths of a second.
_ROUNDING_S: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Verdict:
    """``code``: the one that was chosen, by number; None: none was, for this ``reason``."""

    code: int | None
    reason: str = ""
    ambiguous: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What the till is told at last: by which policy, at which margin, how long after it asked."""

    policy: str
    margin_db: float
    verdict: Verdict
    after_s: float


def verdict_of(choice: Choice, numbers: Mapping[bytes, int]) -> Verdict:
    """The real decision's choice, with codes by number."""
    if isinstance(choice, Chosen):
        return Verdict(numbers[choice.jack.code])
    return Verdict(None, choice.reason.value, isinstance(choice, Ambiguous))


class Till:
    """Puts one question until all policies have answered at all margins."""

    def __init__(self, question: Question, margins_db: Mapping[str, Sequence[float]]) -> None:
        """``margins_db``: by policy."""
        self.question = question
        self._open = {policy: sorted(margins) for policy, margins in margins_db.items()}

    @property
    def waiting(self) -> bool:
        return any(self._open.values())

    def look(
        self, policy: str, decide: Callable[[float], Verdict], now_s: float
    ) -> Iterator[Answer]:
        """Ask ``decide`` at each margin that is still open; what is settled by it.

        Who is not chosen at one margin is not chosen at any larger one, which is not asked then.
        """
        after_s, margins = now_s - self.question.at_s, self._open[policy]
        while margins:
            verdict = decide(margins[0])
            if verdict.code is None:
                break
            yield Answer(policy, margins.pop(0), verdict, after_s)
        else:
            return
        patience_s = AMBIGUOUS_PATIENCE_S if verdict.ambiguous else QUESTION_S
        if after_s >= patience_s - _ROUNDING_S:
            for margin_db in margins:
                yield Answer(policy, margin_db, decide(margin_db), after_s)
            margins.clear()

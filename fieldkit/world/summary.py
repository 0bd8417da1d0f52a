"""All scenarios together: by policy, and by margin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fieldkit.world.tally import Outcome, Tally, Truth, at_most
from fieldkit.world.trial import POLICIES, SWEPT, Result
from payment_device.sightings import LaneRules

#: At most so many customers with a jack may have another car's chosen, where nobody attacks.
WRONG_TARGET: Final = 0.001


@dataclass(frozen=True, slots=True)
class MarginRow:
    """What one margin does: shares from 0 to 1 of the customers with a jack, or without one."""

    policy: str
    margin_db: float
    asked: int
    wrong: int
    wrong_at_most: float
    right: float
    ambiguous: float
    asked_without: int
    wrong_without: int

    @property
    def wrong_share(self) -> float:
        return self.wrong / self.asked if self.asked else 0.0

    @property
    def wrong_without_share(self) -> float:
        return self.wrong_without / self.asked_without if self.asked_without else 0.0

    @property
    def is_default(self) -> bool:
        return self.margin_db == LaneRules().margin_db


@dataclass(frozen=True, slots=True)
class Summary:
    """``by_policy``: all questions. ``margins``: only of scenarios without attackers."""

    by_policy: Mapping[str, Tally]
    margins: Sequence[MarginRow]

    def of(self, policy: str) -> list[MarginRow]:
        """The margins of one policy, ascending."""
        return [row for row in self.margins if row.policy == policy]

    def least_margin_db(self, policy: str) -> float | None:
        """The least margin that meets ``WRONG_TARGET``; None if none does."""
        good = [row.margin_db for row in self.of(policy) if row.wrong_share <= WRONG_TARGET]
        return min(good, default=None)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "policies": {name: tally.to_json() for name, tally in self.by_policy.items()},
            "wrong_target": WRONG_TARGET,
            "margins": [
                {
                    "policy": row.policy,
                    "margin_db": row.margin_db,
                    "asked": row.asked,
                    "wrong": row.wrong,
                    "wrong_share_at_most": row.wrong_at_most,
                    "right_share": row.right,
                    "ambiguous_share": row.ambiguous,
                    "asked_without_jack": row.asked_without,
                    "wrong_without_jack": row.wrong_without,
                }
                for row in self.margins
            ],
        }


def summarise(results: Sequence[Result]) -> Summary:
    """Add up what the scenarios came to."""
    by_policy = {policy: _sum(result.tallies[policy] for result in results) for policy in POLICIES}
    peaceful = [result for result in results if not result.scenario.attackers]
    margins = sorted({margin_db for result in peaceful for _, margin_db in result.sweep})
    rows = [
        _row(policy, margin_db, _sum(result.sweep[policy, margin_db] for result in peaceful))
        for policy in SWEPT
        for margin_db in margins
    ]
    return Summary(by_policy, rows)


def _sum(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        total.add(tally)
    return total


def _row(policy: str, margin_db: float, tally: Tally) -> MarginRow:
    asked, wrong = tally.asked(Truth.JACK), tally.of(Outcome.WRONG, Truth.JACK)
    return MarginRow(
        policy,
        margin_db,
        asked,
        wrong,
        at_most(wrong, asked),
        tally.share(Outcome.RIGHT, Truth.JACK),
        tally.share(Outcome.AMBIGUOUS, Truth.JACK),
        tally.asked(Truth.CAR_WITHOUT),
        tally.of(Outcome.WRONG, Truth.CAR_WITHOUT),
    )

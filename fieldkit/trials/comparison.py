"""Two trials side by side: what is better, what is worse, and what chance may have done. Pure.

A share differs if the 95 % interval of the difference (Newcombe) leaves out zero; a median if that
of a bootstrap does, which draws from both as often as they have payments, by a fixed seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np

from fieldkit.legs import NAMES
from fieldkit.shares import difference
from fieldkit.trials.attempts import Outcome
from fieldkit.trials.figures import Figures, Share
from fieldkit.trials.incidents import Kind

_DRAWS: Final = 2_000
_SEED: Final = 1
#: Of fewer payments a bootstrap says nothing.
_LEAST_PAYMENTS: Final = 8


class Verdict(StrEnum):
    BETTER = "better"
    WORSE = "worse"
    SAME = "no clear difference"
    TOO_FEW = "too few payments"


@dataclass(frozen=True, slots=True)
class Row:
    """``this`` trial beside the ``other``; ``low`` to ``high``: by how much this is above."""

    name: str
    this: float | None
    other: float | None
    low: float | None
    high: float | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Comparison:
    """``counts``: name, this, other of what is told without a verdict."""

    this: str
    other: str
    shares: Sequence[Row]
    medians: Sequence[Row]
    counts: Sequence[tuple[str, int, int]]

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        rows = {"shares": self.shares, "medians_ms": self.medians}
        told = {
            kind: [
                {
                    "name": row.name,
                    "this": row.this,
                    "other": row.other,
                    "low": row.low,
                    "high": row.high,
                    "verdict": row.verdict.value,
                }
                for row in of_kind
            ]
            for kind, of_kind in rows.items()
        }
        counts = [{"name": name, "this": a, "other": b} for name, a, b in self.counts]
        return {"this": self.this, "other": self.other, **told, "counts": counts}


def compare(this: Figures, other: Figures) -> Comparison:
    """``this`` against the ``other``."""
    titles = dict.fromkeys([*this.causes, *other.causes])
    names = _names(this, other)
    return Comparison(
        this=names[0],
        other=names[1],
        shares=[
            _shares("paid of all that was asked", this.success, other.success),
            _shares("paid of what its owner wanted", this.wanted, other.wanted),
        ],
        medians=[_medians(leg, _values(this, leg), _values(other, leg)) for leg in NAMES],
        counts=[
            ("payments asked for", this.success.trials, other.success.trials),
            *((title, this.causes[title], other.causes[title]) for title in titles),
            ("blind windows", len(this.blind), len(other.blind)),
            ("incidents", _incidents(this), _incidents(other)),
        ],
    )


def _names(this: Figures, other: Figures) -> tuple[str, str]:
    """By what the two are told apart: name, or when they began, or which is which."""
    if this.name != other.name:
        return this.name, other.name
    dates = [one.timeline.date_text(one.began_ns) for one in (this, other)]
    told = dates if dates[0] != dates[1] else ("this one", "the other")
    return f"{this.name}, {told[0]}", f"{other.name}, {told[1]}"


def _incidents(figures: Figures) -> int:
    """What befell the trial, not what its people marked or its player did."""
    return sum(one.kind not in {Kind.MARK, Kind.TRIAL, Kind.FAULT} for one in figures.incidents)


def _shares(name: str, this: Share, other: Share) -> Row:
    low, high = difference((this.events, this.trials), (other.events, other.trials))
    verdict = Verdict.BETTER if low > 0 else Verdict.WORSE if high < 0 else Verdict.SAME
    if not this.trials or not other.trials:
        verdict = Verdict.TOO_FEW
    return Row(name, this.share, other.share, low, high, verdict)


def _values(figures: Figures, leg: str) -> list[float]:
    legs = (j.attempt.legs for j in figures.judged if j.attempt.outcome is Outcome.PAID)
    return [ms for one in legs if (ms := one.legs_ms[leg]) is not None]


def _medians(leg: str, this: Sequence[float], other: Sequence[float]) -> Row:
    name = leg.replace("_", " ")
    medians = [float(np.median(values)) if values else None for values in (this, other)]
    if min(len(this), len(other)) < _LEAST_PAYMENTS:
        return Row(name, medians[0], medians[1], None, None, Verdict.TOO_FEW)
    random = np.random.default_rng(_SEED)
    drawn = [
        np.median(random.choice(values, (_DRAWS, len(values))), axis=1)
        for values in (np.array(this), np.array(other))
    ]
    low, high = (float(edge) for edge in np.quantile(drawn[0] - drawn[1], (0.025, 0.975)))
    verdict = Verdict.BETTER if high < 0 else Verdict.WORSE if low > 0 else Verdict.SAME
    return Row(name, medians[0], medians[1], round(low, 1), round(high, 1), verdict)

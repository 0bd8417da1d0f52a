"""Whether something grows, from samples of several runs: a slope with its interval. Pure.

Samples of one process hang together, so that their scatter says too little about how well the
slope is known. Its interval is that of Newey and West (1987), which allows for it; every run has
a level of its own, for a process that starts anew begins with less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np

#: A process that has just started grows to what it needs: so long, nothing is concluded.
WARM_UP_S: Final = 300.0
#: Fewer samples, or a shorter time in all, tell no slope.
_LEAST_SAMPLES: Final = 30
_LEAST_S: Final = 600.0
_S_PER_HOUR: Final = 3600.0
#: Of a normal distribution, both sides: 95 %.
_Z: Final = 1.96

Run = Sequence[tuple[float, float]]


class Verdict(StrEnum):
    """``unknown``: there is too little to tell, or the interval has the bound within it."""

    STEADY = "steady"
    GROWS = "grows"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Growth:
    """By the hour; ``low`` and ``high``: 95 % interval. All None where there is too little."""

    bound: float
    slope: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def verdict(self) -> Verdict:
        """Only what certainly grows faster than the bound is said to grow."""
        if self.low is None or self.high is None:
            return Verdict.UNKNOWN
        if self.low > self.bound:
            return Verdict.GROWS
        return Verdict.STEADY if self.high <= self.bound else Verdict.UNKNOWN

    def to_json(self) -> dict[str, Any]:
        figures = {"slope": self.slope, "low": self.low, "high": self.high}
        rounded = {
            name: None if value is None else round(value, 3) for name, value in figures.items()
        }
        return {"bound_per_hour": self.bound, "verdict": self.verdict.value, **rounded}


def growth(runs: Sequence[Run], bound: float) -> Growth:
    """Of ``runs`` of (seconds, value), each by rising time; ``bound`` is by the hour."""
    warm = [_warm(run) for run in runs]
    warm = [run for run in warm if len(run) > 1]
    lasted_s = sum(run[-1][0] - run[0][0] for run in warm)
    if sum(map(len, warm)) < _LEAST_SAMPLES or lasted_s < _LEAST_S:
        return Growth(bound)
    times = np.concatenate([_centred([at_s / _S_PER_HOUR for at_s, _ in run]) for run in warm])
    values = np.concatenate([_centred([value for _, value in run]) for run in warm])
    spread = float(times @ times)
    slope = float(times @ values) / spread
    error = math.sqrt(_long_run_variance(times * (values - slope * times))) / spread
    return Growth(bound, slope, slope - _Z * error, slope + _Z * error)


def _warm(run: Run) -> Run:
    began_s = run[0][0] if run else 0.0
    return [(at_s, value) for at_s, value in run if at_s - began_s >= WARM_UP_S]


def _centred(values: Sequence[float]) -> np.ndarray:
    mean = sum(values) / len(values)
    return np.array([value - mean for value in values])


def _long_run_variance(scores: np.ndarray) -> float:
    """Of their sum: with what neighbours have in common, up to the square root of their number."""
    count = len(scores)
    lags = math.isqrt(count)
    total = float(scores @ scores)
    for lag in range(1, lags + 1):
        weight = 1 - lag / (lags + 1)
        total += 2 * weight * float(scores[lag:] @ scores[:-lag])
    return max(total, 0.0) * count / (count - 2)

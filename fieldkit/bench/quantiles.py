"""What many measured values come to: medians, quantiles and shares. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_DECIMALS: Final = 3


@dataclass(frozen=True, slots=True)
class Summary:
    """Count, least, median, 90th and 95th percentile, most: all in the unit of the values.

    Without values every figure but the count is None.
    """

    count: int
    least: float | None
    median: float | None
    p90: float | None
    p95: float | None
    most: float | None


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of ``values`` lie, interpolated between neighbours.

    The definition of ``statistics.quantiles(method="inclusive")``, for a single value too. No
    values, or a share outside 0 to 1, is a ValueError.
    """
    if not values:
        raise ValueError("no values have no quantile")
    if not 0 <= share <= 1:
        raise ValueError("a share is 0 to 1")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below, above = math.floor(place), math.ceil(place)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def summary(values: Sequence[float]) -> Summary:
    """The summary of ``values`` in any order, rounded to thousandths."""
    if not values:
        return Summary(0, None, None, None, None, None)
    figures = (round(quantile(values, share), _DECIMALS) for share in (0, 0.5, 0.9, 0.95, 1))
    return Summary(len(values), *figures)


def shares(parts: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """By name, the share of all time that went into a part: sums over all its values.

    Sums, not medians: the shares of medians do not add up to 1, those of sums do.
    """
    total = sum(sum(values) for values in parts.values())
    if total <= 0:
        return dict.fromkeys(parts, 0.0)
    return {name: round(sum(values) / total, _DECIMALS) for name, values in parts.items()}


def ratio(cost: float, floor: float) -> float | None:
    """How many times the floor a cost is; None where there is no floor to divide by."""
    return round(cost / floor, 2) if floor > 0 else None

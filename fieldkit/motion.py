"""Where things are: positions in metres on a plane, straight drives, and journeys of them. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Position:
    """A point of the site. Raises ValueError unless both coordinates are finite."""

    x_m: float
    y_m: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.x_m) and math.isfinite(self.y_m)):
            raise ValueError("a position needs two finite numbers of metres")


def distance_m(one: Position, other: Position) -> float:
    """Straight-line distance."""
    return math.hypot(one.x_m - other.x_m, one.y_m - other.y_m)


@dataclass(frozen=True, slots=True)
class Drive:
    """A straight drive at constant speed that ends at ``to``. ValueError unless the speed is > 0.

    ``departed_at_s`` is a time of whatever monotonic clock ``position_at`` is asked with.
    """

    start: Position
    to: Position
    speed_mps: float
    departed_at_s: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.speed_mps) and self.speed_mps > 0):
            raise ValueError("a speed is a finite number of metres per second above zero")

    @property
    def duration_s(self) -> float:
        """Seconds from departure to arrival."""
        return distance_m(self.start, self.to) / self.speed_mps

    def position_at(self, now_s: float) -> Position:
        """Where the drive is at ``now_s``: at its start before it, at its end after it."""
        elapsed_s = now_s - self.departed_at_s
        if elapsed_s <= 0:
            return self.start
        if elapsed_s >= self.duration_s:
            return self.to
        share = elapsed_s / self.duration_s
        return Position(
            self.start.x_m + share * (self.to.x_m - self.start.x_m),
            self.start.y_m + share * (self.to.y_m - self.start.y_m),
        )


@dataclass(frozen=True, slots=True)
class Journey:
    """Straight drives and stops between places, each reached ``at_s``, in order.

    Before the first place and after the last there is nobody. ValueError unless there are as many
    times as places, at least one, and no time is before the one ahead of it.
    """

    at_s: tuple[float, ...]
    places: tuple[Position, ...]

    def __post_init__(self) -> None:
        if not self.at_s or len(self.at_s) != len(self.places):
            raise ValueError("a journey has as many times as places, and at least one")
        if any(later < earlier for earlier, later in pairwise(self.at_s)):
            raise ValueError("a journey goes forward in time")

    def position_at(self, now_s: float) -> Position | None:
        """Where it is at ``now_s``; None before it begins and after it has ended."""
        if not self.at_s[0] <= now_s <= self.at_s[-1]:
            return None
        index = bisect_right(self.at_s, now_s)
        if index == len(self.at_s):
            return self.places[-1]
        start, to = self.places[index - 1], self.places[index]
        began_s, ends_s = self.at_s[index - 1], self.at_s[index]
        share = (now_s - began_s) / (ends_s - began_s)
        return Position(
            start.x_m + share * (to.x_m - start.x_m), start.y_m + share * (to.y_m - start.y_m)
        )


def parked(at: Position) -> Drive:
    """A drive that has already arrived."""
    return Drive(at, at, speed_mps=1.0, departed_at_s=0.0)

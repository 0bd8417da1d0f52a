"""Where things are: positions in metres on a plane, and straight drives. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass


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


def parked(at: Position) -> Drive:
    """A drive that has already arrived."""
    return Drive(at, at, speed_mps=1.0, departed_at_s=0.0)

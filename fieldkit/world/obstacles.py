"""What stands in the way: cars between a jack and a terminal, and metal. Geometry of whole runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from fieldkit.world.scenario import Metal
from fieldkit.world.traffic import Car

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: How often it is looked whether a car stands between; it takes one 0.6 s to drive its length.
_BLOCKING_STEP_S: Final = 0.5
#: Half the width of a car: a line that comes nearer to its middle goes through it.
_CAR_RADIUS_M: Final = 1.0


class Placed(Protocol):
    """Adverts with their times and places; ``car``: the index of the car they come from."""

    @property
    def at_s(self) -> Floats: ...

    @property
    def x_m(self) -> Floats: ...

    @property
    def y_m(self) -> Floats: ...

    @property
    def car(self) -> int | None: ...


def within(at_s: Floats, windows: Floats) -> Bools:
    """Which times lie in one of the windows (rows of begin and end, ascending)."""
    if not len(windows):
        return np.zeros(len(at_s), dtype=np.bool_)
    index = np.searchsorted(windows[:, 0], at_s, side="right") - 1
    return np.asarray((index >= 0) & (at_s <= windows[np.maximum(index, 0), 1]), dtype=np.bool_)


class Blocking:
    """Whether a car stands between: looked up every ``_BLOCKING_STEP_S`` for all cars at once."""

    def __init__(self, cars: Sequence[Car], windows: Floats) -> None:
        steps = np.arange(0, windows.max(initial=0.0) + _BLOCKING_STEP_S, _BLOCKING_STEP_S)
        self._steps_s = steps[within(steps, windows)]
        self._x_m = np.full((len(cars), len(self._steps_s)), np.nan)
        self._y_m = np.full_like(self._x_m, np.nan)
        for index, car in enumerate(cars):
            knots_s = np.array(car.journey.at_s)
            there = (self._steps_s >= knots_s[0]) & (self._steps_s <= knots_s[-1])
            at_s = self._steps_s[there]
            for target, axis in ((self._x_m, "x_m"), (self._y_m, "y_m")):
                values = np.array([getattr(place, axis) for place in car.journey.places])
                target[index, there] = np.interp(at_s, knots_s, values)

    def between(self, sender: Placed, terminal_m: tuple[float, float]) -> Bools:
        """For each advert, whether a car other than the sender's is in its way."""
        if not len(sender.at_s) or not len(self._steps_s):
            return np.zeros(len(sender.at_s), dtype=np.bool_)
        step = np.clip(np.searchsorted(self._steps_s, sender.at_s), 0, len(self._steps_s) - 1)
        first, last = int(step.min()), int(step.max()) + 1
        # Only cars that are there at all in these steps; where one is not, its place is NaN.
        others = ~np.isnan(self._x_m[:, first:last]).all(axis=1)
        if sender.car is not None:
            others[sender.car] = False
        used, places = np.unique(step, return_index=True)
        blocked = _crossed(
            (sender.x_m[places], sender.y_m[places]),
            terminal_m,
            (self._x_m[others][:, used], self._y_m[others][:, used]),
        )
        return blocked[np.searchsorted(used, step)]


def _crossed(
    senders: tuple[Floats, Floats], terminal_m: tuple[float, float], cars: tuple[Floats, Floats]
) -> Bools:
    """Whether any car (rows) is within its radius of the line to the terminal, by time."""
    line_x, line_y = senders[0] - terminal_m[0], senders[1] - terminal_m[1]
    car_x, car_y = cars[0] - terminal_m[0], cars[1] - terminal_m[1]
    length_2 = np.maximum(line_x**2 + line_y**2, 1e-9)
    along = (car_x * line_x + car_y * line_y) / length_2
    aside_2 = (car_x * line_y - car_y * line_x) ** 2 / length_2
    # NaN, a car that is not there, compares as False.
    return np.asarray(
        ((along > 0) & (along < 1) & (aside_2 < _CAR_RADIUS_M**2)).any(axis=0), dtype=np.bool_
    )


def behind(wall: Metal, sender: Placed, terminal_m: tuple[float, float]) -> Bools:
    """Whether the line from each advert's place to the terminal crosses the wall."""

    def side(ax: Any, ay: Any, bx: Any, by: Any, px: Any, py: Any) -> Any:
        return (bx - ax) * (py - ay) - (by - ay) * (px - ax)

    (wx, wy), (vx, vy), (tx, ty) = wall.from_m, wall.to_m, terminal_m
    apart = side(wx, wy, vx, vy, sender.x_m, sender.y_m) * side(wx, wy, vx, vy, tx, ty) < 0
    one = side(sender.x_m, sender.y_m, tx, ty, wx, wy)
    other = side(sender.x_m, sender.y_m, tx, ty, vx, vy)
    return np.asarray(apart & (one * other < 0), dtype=np.bool_)

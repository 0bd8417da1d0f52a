"""Which rules of a lane are tried: a coarse grid, then finer ones around what was best. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Final

from payment_device.sightings import LaneRules

Steps = Mapping[str, float]

#: What is tuned: values of the coarse grid. Levels in dB or dBm, times in seconds.
COARSE: Final[Mapping[str, tuple[float, ...]]] = {
    "min_rssi_dbm": (-85.0, -80.0, -75.0, -70.0, -65.0, -60.0),
    "margin_db": (3.0, 6.0, 9.0, 12.0, 16.0),
    "settle_s": (0.2, 0.5, 0.8),
    "settle_samples": (3, 6),
    "home_margin_db": (3.0, 6.0, 9.0),
}
#: From one value of the coarse grid to the next; each finer grid halves them.
STEPS: Final[Steps] = {
    "min_rssi_dbm": 5.0,
    "margin_db": 3.0,
    "settle_s": 0.3,
    "settle_samples": 3,
    "home_margin_db": 3.0,
}
_LEVELS: Final = ("min_rssi_dbm", "margin_db", "home_margin_db")
_DWELL: Final = ("settle_s", "settle_samples")
#: Within which bounds values have a meaning and a setting (``payment_device.config``).
BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "min_rssi_dbm": (-120.0, 0.0),
    "margin_db": (0.0, 60.0),
    "settle_s": (0.0, 0.9),
    "settle_samples": (1, 100),
    "home_margin_db": (0.0, 60.0),
}


def coarse(usual: LaneRules, names: Iterable[str]) -> list[LaneRules]:
    """The usual rules first, then every combination of the values of ``names``."""
    names = tuple(names)
    combined = product(*(COARSE[name] for name in names))
    grid = (_with(usual, dict(zip(names, values, strict=True))) for values in combined)
    return list(dict.fromkeys([usual, *grid]))


def finer(centre: LaneRules, names: Collection[str], halvings: int) -> list[LaneRules]:
    """A step up and down from ``centre``, steps halved so often: all levels at once, and dwell.

    The two hardly depend on each other.
    """
    found: list[LaneRules] = []
    for together in (_LEVELS, _DWELL):
        moved = [name for name in names if name in together]
        axes = [list(_around(name, getattr(centre, name), halvings)) for name in moved]
        found += (_with(centre, dict(zip(moved, v, strict=True))) for v in product(*axes))
    return list(dict.fromkeys(found))


def steps_apart(one: LaneRules, other: LaneRules) -> float:
    """How many steps of the coarse grid lie between two sets of rules."""
    apart = (abs(getattr(one, name) - getattr(other, name)) / STEPS[name] for name in STEPS)
    return float(sum(apart))


def _around(name: str, value: float, halvings: int) -> Iterator[float]:
    step = STEPS[name] / 2**halvings
    step = max(1, round(step)) if name == "settle_samples" else step
    lowest, highest = BOUNDS[name]
    for moved in (value, value - step, value + step):
        yield min(highest, max(lowest, round(moved, 3)))


def _with(rules: LaneRules, values: Mapping[str, float]) -> LaneRules:
    return replace(rules, **values)  # type: ignore[arg-type]

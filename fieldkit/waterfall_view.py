"""A waterfall as the templates show it (``waterfall.html.j2``): steps, legs and places. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fieldkit.legs import ENDS, Legs
from fieldkit.waterfall import PARTIES, Bar, Point, Waterfall

#: The middle of each party's lane, in percent from the top.
MIDDLE: Final = {party: 12.5 + 25 * row for row, party in enumerate(PARTIES)}
_LEAST_BAR: Final = 0.4


@dataclass(frozen=True, slots=True)
class Leg:
    name: str
    ms: float | None

    @property
    def text(self) -> str:
        return milliseconds(self.ms)


@dataclass(frozen=True, slots=True)
class Step:
    """One line below the drawing; places in percent, ``time`` as text."""

    party: str
    text: str
    left: float
    width: float
    time: str


def legs_shown(legs: Legs) -> list[Leg]:
    """The legs in their order, by names for people."""
    return [Leg(words(leg), legs.legs_ms[leg]) for leg in ENDS]


def steps(drawing: Waterfall | None) -> Sequence[Step]:
    """Everything that is drawn, in the order in which it began."""
    if drawing is None:
        return []
    bars = [(bar.from_ms, _bar_step(bar)) for bar in drawing.bars]
    points = [(point.at_ms, _point_step(point)) for point in drawing.points]
    return [step for _, step in sorted(bars + points, key=lambda timed: timed[0])]


def _bar_step(bar: Bar) -> Step:
    width = max(bar.width, _LEAST_BAR)
    return Step(bar.party, bar.text, bar.left, width, milliseconds(bar.duration_ms))


def _point_step(point: Point) -> Step:
    text = words(point.event) + (f" ({point.detail})" if point.detail else "")
    return Step(point.party, text, point.left, _LEAST_BAR, f"at {milliseconds(point.at_ms)}")


def milliseconds(ms: float | None) -> str:
    if ms is None:
        return "—"
    return f"{ms / 1000:.2f} s" if ms >= 1000 else f"{ms:.1f} ms"


def words(name: str) -> str:
    return name.replace("_", " ")

"""When something happened at the latest and at the earliest, from what must have come before it.

Readings of one clock that lie ``d`` apart are between ``d - r*d`` and ``d + r*d`` apart in true
time, where ``r`` is the drift that is allowed for. What was sent was sent before it was received.
Each of these is a difference constraint ``true(b) <= true(a) + w``, so that the tightest bounds
that follow from all of them together are shortest paths (Bellman and Ford), from and to the
reference clock, whose own readings are the true time. They are exact: nothing is fitted, and no
clock need keep its drift. A cycle of negative length is a set of statements that cannot all be
true.

All lengths are whole nanoseconds, rounded outwards. Pure.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

_PER_MILLION: Final = 1_000_000
#: A node from which nothing is known yet.
_FAR: Final = math.inf


class ClockId(NamedTuple):
    """A monotonic clock: one boot of one machine."""

    machine: str
    boot: str


class Reading(NamedTuple):
    """What a clock showed."""

    clock: ClockId
    at_ns: int


@dataclass(frozen=True, slots=True)
class Order:
    """``earlier`` happened before ``later``, or at most ``slack_ns`` after it; ``why`` in words."""

    earlier: Reading
    later: Reading
    why: str
    slack_ns: int = 0


class ContradictionError(Exception):
    """Orders that cannot all be true, with clocks as good as was said.

    ``orders``: those of the narrowest circle that was found. ``by_ns``: by how much they miss.
    """

    def __init__(self, orders: Sequence[Order], by_ns: int) -> None:
        super().__init__(f"{len(orders)} orders cannot all be true; they miss by {by_ns} ns")
        self.orders = tuple(orders)
        self.by_ns = by_ns


@dataclass(frozen=True, slots=True)
class Interval:
    """The true time lies within, in nanoseconds of the reference clock; infinite if unknown."""

    earliest_ns: float
    latest_ns: float

    @property
    def bounded(self) -> bool:
        return math.isfinite(self.earliest_ns) and math.isfinite(self.latest_ns)

    @property
    def middle_ns(self) -> int:
        """The middle of all intervals together keeps every order: the bounds are such times too."""
        return int(self.earliest_ns + self.latest_ns) // 2

    @property
    def half_width_ns(self) -> float:
        return (self.latest_ns - self.earliest_ns) / 2


UNKNOWN: Final = Interval(-math.inf, math.inf)


@dataclass(frozen=True, slots=True)
class _Edge:
    """true(to) <= true(from) + length. ``order``: where it comes from, None for a clock's own."""

    begin: int
    end: int
    length_ns: int
    order: Order | None = None


class Bounds:
    """The intervals of all clocks that ``orders`` name, and of the ``reference``."""

    def __init__(self, reference: ClockId, orders: Iterable[Order], drift_ppm: int) -> None:
        """``drift_ppm``: how much faster or slower a clock may be. Raises ContradictionError."""
        self._reference = reference
        self._drift_ppm = drift_ppm
        orders = tuple(orders)
        self.readings = _readings(orders)
        numbers: dict[Reading, int] = {}
        for clock, times_ns in self.readings.items():
            for at_ns in times_ns:
                numbers[Reading(clock, at_ns)] = len(numbers) + 1
        edges = [*self._own_edges(numbers), *_ordered(orders, numbers)]
        latest = _distances(len(numbers) + 1, edges)
        back = [_Edge(e.end, e.begin, e.length_ns, e.order) for e in reversed(edges)]
        earliest = _distances(len(numbers) + 1, back)
        self._at = {
            reading: Interval(-earliest[number], latest[number])
            for reading, number in numbers.items()
        }

    def at(self, clock: ClockId, at_ns: int) -> Interval:
        """The true time when ``clock`` showed ``at_ns``, also between and beyond the orders."""
        if clock == self._reference:
            return Interval(at_ns, at_ns)
        times_ns = self.readings.get(clock)
        if not times_ns:
            return UNKNOWN
        place = bisect_right(times_ns, at_ns)
        earliest_ns, latest_ns = -math.inf, math.inf
        for index in (place - 1, place):
            if 0 <= index < len(times_ns):
                near = self._at[Reading(clock, times_ns[index])]
                fewest, most = self._apart(at_ns - times_ns[index])
                earliest_ns = max(earliest_ns, near.earliest_ns + fewest)
                latest_ns = min(latest_ns, near.latest_ns + most)
        return Interval(earliest_ns, latest_ns)

    def _apart(self, read_ns: int) -> tuple[int, int]:
        """Least and most true time between two readings, the second ``read_ns`` after the first."""
        drift_ns = -(-abs(read_ns) * self._drift_ppm // _PER_MILLION)
        return read_ns - drift_ns, read_ns + drift_ns

    def _own_edges(self, numbers: dict[Reading, int]) -> list[_Edge]:
        """What each clock says of its own readings; node 0 is the reference's zero."""
        forward, backward = [], []
        for clock, times_ns in self.readings.items():
            nodes = [numbers[Reading(clock, at_ns)] for at_ns in times_ns]
            if clock == self._reference:
                forward += [_Edge(0, n, at_ns) for n, at_ns in zip(nodes, times_ns, strict=True)]
                backward += [_Edge(n, 0, -at_ns) for n, at_ns in zip(nodes, times_ns, strict=True)]
                continue
            for (a, a_ns), (b, b_ns) in pairwise(zip(nodes, times_ns, strict=True)):
                fewest, most = self._apart(b_ns - a_ns)
                forward.append(_Edge(a, b, most))
                backward.append(_Edge(b, a, -fewest))
        return [*forward, *reversed(backward)]


def _readings(orders: Iterable[Order]) -> dict[ClockId, list[int]]:
    """By clock, all its readings, sorted."""
    found: dict[ClockId, set[int]] = {}
    for order in orders:
        for reading in (order.earlier, order.later):
            found.setdefault(reading.clock, set()).add(reading.at_ns)
    return {clock: sorted(times_ns) for clock, times_ns in found.items()}


def _ordered(orders: Iterable[Order], numbers: dict[Reading, int]) -> list[_Edge]:
    return [_Edge(numbers[o.later], numbers[o.earlier], o.slack_ns, o) for o in orders]


def _distances(nodes: int, edges: Sequence[_Edge]) -> list[float]:
    """The length of the shortest way from node 0 to each. Raises ContradictionError.

    The edges of a clock lie in a row, in the order of its readings, so that one round carries a
    bound along the whole clock, and there are hardly more rounds than a way has messages.
    """
    distances = [_FAR] * nodes
    distances[0] = 0
    came_by: list[_Edge | None] = [None] * nodes
    while _relaxed(edges, distances, came_by):
        circle = _circle(came_by)
        if circle:
            orders = [edge.order for edge in circle if edge.order is not None]
            raise ContradictionError(orders, -sum(edge.length_ns for edge in circle))
    return distances


def _relaxed(edges: Sequence[_Edge], distances: list[float], came_by: list[_Edge | None]) -> bool:
    """Go over all edges once; whether anything became shorter."""
    changed = False
    for edge in edges:
        length = distances[edge.begin] + edge.length_ns
        if length < distances[edge.end]:
            distances[edge.end] = length
            came_by[edge.end] = edge
            changed = True
    return changed


def _circle(came_by: Sequence[_Edge | None]) -> list[_Edge]:
    """A circle among the edges by which the nodes were reached; it is of negative length."""
    seen_from = [-1] * len(came_by)
    for start in range(len(came_by)):
        node, edge = start, came_by[start]
        while edge is not None and seen_from[node] < 0:
            seen_from[node] = start
            node = edge.begin
            edge = came_by[node]
        if edge is not None and seen_from[node] == start:
            return _walk(came_by, node)
    return []


def _walk(came_by: Sequence[_Edge | None], start: int) -> list[_Edge]:
    """The edges of the circle on which ``start`` lies."""
    circle: list[_Edge] = []
    node = start
    while not circle or node != start:
        edge = came_by[node]
        assert edge is not None  # every node of a circle was reached by an edge of it
        circle.append(edge)
        node = edge.begin
    return circle

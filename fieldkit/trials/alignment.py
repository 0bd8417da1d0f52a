"""One timeline for the machines of a trial, whose clocks differ and jump. Pure.

Within one boot of a machine CLOCK_MONOTONIC is the base. How the clocks lie to that of the server's
machine follows from the messages that the agents exchanged (``exchanges``), as bounds that are
exact (``bounds``). A clock that no message ties is tied by the time that the server signed for it,
or by codes on the air. Else what its wall clock said is told as an estimate of unknown uncertainty.
docs/trial-report.md tells how good this is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Final, Protocol

from fieldkit.trace import TraceEvent
from fieldkit.trials.bounds import UNKNOWN, Bounds, ClockId, ContradictionError, Interval, Order
from fieldkit.trials.exchanges import Record, beacons, clock_of, messages, restarts
from fieldkit.trials.signed_times import signed_times

#: Two quartz clocks, each within 50 ppm from -20 to 70 degrees.
USUAL_DRIFT_PPM: Final = 100
#: What the kernel's slewing does at most while a time daemon puts a clock right (ntp_adjtime:
#: MAXFREQ).
SLEWED_DRIFT_PPM: Final = 500
#: A wall clock that moves by more than this against the monotonic one was set (docs/trace.md).
STEP_FROM_MS: Final = 50
_NS_PER_MS: Final = 1_000_000
_NS_PER_US: Final = 1_000


class Trial(Protocol):
    """Whatever has the records of all agents."""

    @property
    def agents(self) -> Sequence[Record]: ...


class Basis(StrEnum):
    """What a clock's place on the timeline rests on."""

    REFERENCE = "reference"
    MESSAGES = "messages"
    SIGNED = "signed time"
    BEACONS = "beacons"
    WALL = "wall clock"


class Relation(StrEnum):
    BEFORE = "before"
    AFTER = "after"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Clock:
    """One clock as it was found. ``drift_ppm``: least and most, None without two places to compare.

    ``offset_ns`` is to be added to its readings, in the middle of what it noted; ``best_ns`` and
    ``worst_ns`` are the least and the most uncertainty among its events, which lie between its
    readings ``first_ns`` and ``last_ns``.
    """

    id: ClockId
    basis: Basis
    agents: tuple[str, ...]
    events: int
    offset_ns: int
    drift_ppm: tuple[float, float] | None
    best_ns: float
    worst_ns: float
    first_ns: int
    last_ns: int


@dataclass(frozen=True, slots=True)
class Step:
    """The wall clock of an agent was set. ``trust``: what it was worth, before and after."""

    clock: ClockId
    agent: str
    after_mono_ns: int
    mono_ns: int
    by_ms: int
    trust: tuple[str, str]


class Alignment:
    """Where the readings of all clocks lie on the reference's; made by ``align``."""

    def __init__(
        self,
        records: Sequence[Record],
        reference: ClockId,
        bases: Sequence[tuple[Basis, Bounds]],
        statements: Sequence[str],
    ) -> None:
        self.reference = reference
        #: What had to be given up, in sentences; empty if all messages agree.
        self.statements = tuple(statements)
        self._bases = bases
        self._events = _by_clock(records)
        #: How far the reference's wall clock is ahead of its readings, most of the time.
        self.wall_ahead_ns = _wall_minus_mono_ns(self._events.get(reference, ()))
        self._by_wall_ns = {
            clock: _wall_minus_mono_ns(events) - self.wall_ahead_ns
            for clock, events in self._events.items()
        }
        self.clocks = tuple(self._clock(clock) for clock in self._events)
        self.steps = tuple(step for record in records for step in _steps(record))

    def basis(self, clock: ClockId) -> Basis:
        """What the place of ``clock`` rests on."""
        return self._placed(clock, 0)[0]

    def interval(self, clock: ClockId, mono_ns: int) -> Interval:
        """The true time, in nanoseconds of the reference, when ``clock`` showed ``mono_ns``."""
        return self._placed(clock, mono_ns)[1]

    def placed(self, clock: ClockId, mono_ns: int) -> tuple[int, float]:
        """True time, and its uncertainty either way: the middle and half of the interval.

        Taken together the middles keep the order of all messages. Without bounds: what the wall
        clock said, whose uncertainty is infinite.
        """
        found = self.interval(clock, mono_ns)
        if found.bounded:
            return found.middle_ns, found.half_width_ns
        return mono_ns + self._by_wall_ns.get(clock, 0), math.inf

    def at_ns(self, clock: ClockId, mono_ns: int) -> int:
        """The first of ``placed``."""
        return self.placed(clock, mono_ns)[0]

    def at_us(self, machine: str, boot: str, mono_us: int) -> tuple[int, float]:
        """True time and its uncertainty either way, both in microseconds; infinite if unknown."""
        clock = ClockId(machine, boot)
        at_ns, within_ns = self.placed(clock, mono_us * _NS_PER_US)
        rounded_us = 0 if clock == self.reference else 1
        within_us = math.ceil(within_ns / _NS_PER_US) if math.isfinite(within_ns) else math.inf
        return at_ns // _NS_PER_US, within_us + rounded_us

    def order(self, one: tuple[ClockId, int], other: tuple[ClockId, int]) -> Relation:
        """Which of two readings came first, as finely as is known."""
        if one[0] == other[0] and one[1] != other[1]:
            return Relation.BEFORE if one[1] < other[1] else Relation.AFTER
        first, second = self.interval(*one), self.interval(*other)
        if first.latest_ns < second.earliest_ns:
            return Relation.BEFORE
        if second.latest_ns < first.earliest_ns:
            return Relation.AFTER
        return Relation.UNDECIDED

    def _placed(self, clock: ClockId, mono_ns: int) -> tuple[Basis, Interval]:
        if clock == self.reference:
            return Basis.REFERENCE, Interval(mono_ns, mono_ns)
        found = UNKNOWN
        for basis, bounds in self._bases:
            found = bounds.at(clock, mono_ns)
            if found.bounded:
                return basis, found
        # Of the last, which has all orders: that a boot came after another may be known still.
        return Basis.WALL, found

    def _clock(self, clock: ClockId) -> Clock:
        events = self._events[clock]
        times_ns = sorted(event.mono_ns for event in events)
        widths_ns = [self.interval(clock, at_ns).half_width_ns for at_ns in times_ns]
        middle_ns = times_ns[len(times_ns) // 2]
        return Clock(
            id=clock,
            basis=self.basis(clock),
            agents=tuple(sorted({event.agent for event in events})),
            events=len(events),
            offset_ns=self.at_ns(clock, middle_ns) - middle_ns,
            drift_ppm=self._drift_ppm(clock),
            best_ns=min(widths_ns),
            worst_ns=max(widths_ns),
            first_ns=times_ns[0],
            last_ns=times_ns[-1],
        )

    def _drift_ppm(self, clock: ClockId) -> tuple[float, float] | None:
        """Between the first and the last message of a clock; over minutes it says nothing."""
        for basis, bounds in self._bases:
            times_ns = bounds.readings.get(clock, ())
            if basis is self.basis(clock) and len(times_ns) > 1:
                first, last = bounds.at(clock, times_ns[0]), bounds.at(clock, times_ns[-1])
                read_ns = times_ns[-1] - times_ns[0]
                fewest_ns = last.earliest_ns - first.latest_ns - read_ns
                most_ns = last.latest_ns - first.earliest_ns - read_ns
                return fewest_ns / read_ns * 1e6, most_ns / read_ns * 1e6
        return None


def align(trial: Trial) -> Alignment:
    """The timeline of a trial's records, by the server's machine, or whichever noted most."""
    records = [record for record in trial.agents if record.events]
    reference = _reference(records)
    statements: list[str] = []
    orders = [*messages(records), *restarts(records)]
    bases = [(Basis.MESSAGES, _agreed(reference, orders, statements))]
    for basis, further in ((Basis.SIGNED, signed_times), (Basis.BEACONS, beacons)):
        left = _untied(records, reference, [bounds for _, bounds in bases])
        # Only what touches a clock that nothing better ties: the others keep their bounds.
        found = [o for o in further(records) if {o.earlier.clock, o.later.clock} & left]
        if found:
            orders += found
            bases.append((basis, _agreed(reference, orders, statements)))
    return Alignment(records, reference, bases, statements)


def _reference(records: Sequence[Record]) -> ClockId:
    """Where the server noted most; without a server, the busiest boot of any machine."""
    servers = [record for record in records if record.party == "server"] or records
    counts = Counter(clock_of(record, event) for record in servers for event in record.events)
    return max(counts, key=lambda clock: (counts[clock], clock)) if counts else ClockId("", "")


def _agreed(reference: ClockId, orders: Sequence[Order], statements: list[str]) -> Bounds:
    """The bounds that follow from ``orders``, without those that contradict each other."""
    left = list(orders)
    while True:
        try:
            return Bounds(reference, left, USUAL_DRIFT_PPM)
        except ContradictionError as found:
            narrow = found
        try:
            bounds = Bounds(reference, left, SLEWED_DRIFT_PPM)
        except ContradictionError as found:
            pairs = {_pair(order) for order in found.orders}
            left = [order for order in left if _pair(order) not in pairs]
            statements.append(_given_up(found))
        else:
            statements.append(_slewed(narrow))
            return bounds


def _pair(order: Order) -> frozenset[ClockId]:
    return frozenset({order.earlier.clock, order.later.clock})


def _slewed(found: ContradictionError) -> str:
    return (
        f"With clocks that differ by at most {USUAL_DRIFT_PPM} ppm, messages contradict each "
        f"other by {_duration(found.by_ns)}; so {SLEWED_DRIFT_PPM} ppm is allowed for, as where a "
        f"time daemon was putting a clock right. {_named(found)}"
    )


def _given_up(found: ContradictionError) -> str:
    machines = sorted({order.earlier.clock.machine for order in found.orders})
    return (
        f"What passed between {' and '.join(machines)} cannot all be true, by "
        f"{_duration(found.by_ns)}, with any clocks; none of it is used for the timeline. "
        f"{_named(found)}"
    )


def _named(found: ContradictionError) -> str:
    return "Among it: " + "; ".join(dict.fromkeys(order.why for order in found.orders[:4])) + "."


def _duration(ns: int) -> str:
    return f"{ns / 1e9:.1f} s" if ns >= 1e9 else f"{ns / 1e6:.3g} ms"


def _untied(records: Sequence[Record], reference: ClockId, tried: Sequence[Bounds]) -> set[ClockId]:
    clocks = {clock_of(record, event) for record in records for event in record.events}
    tied = {c for c in clocks for bounds in tried if bounds.at(c, 0).bounded}
    return clocks - tied - {reference}


def _by_clock(records: Sequence[Record]) -> dict[ClockId, list[TraceEvent]]:
    found: dict[ClockId, list[TraceEvent]] = {}
    for record in records:
        for event in record.events:
            found.setdefault(clock_of(record, event), []).append(event)
    return found


def _wall_minus_mono_ns(events: Iterable[TraceEvent]) -> int:
    """How far the wall clock is ahead of the monotonic one, most of the time."""
    ahead_ns = [event.wall_ms * _NS_PER_MS - event.mono_ns for event in events]
    return int(median(ahead_ns)) if ahead_ns else 0


def _steps(record: Record) -> Iterable[Step]:
    """Each time the agent's wall clock moved against the monotonic one of the same boot."""
    for before, after in zip(record.events, record.events[1:], strict=False):
        by_ns = (after.wall_ms - before.wall_ms) * _NS_PER_MS - (after.mono_ns - before.mono_ns)
        if before.boot == after.boot and abs(by_ns) > STEP_FROM_MS * _NS_PER_MS:
            clock, trust = clock_of(record, after), (before.clock, after.clock)
            by_ms = round(by_ns / _NS_PER_MS)
            yield Step(clock, record.agent, before.mono_ns, after.mono_ns, by_ms, trust)

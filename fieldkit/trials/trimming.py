"""What of the recordings belongs to a trial: pieces of rings from before and after it. Pure.

A piece is left out only if it is certain that it has no part in the trial: the clocks of all
machines are compared by what they sent each other, never by what their wall clocks said, and a
clock that nothing ties to the others tells nothing. Pieces of a ring follow each other, so that
what came before a piece from before the trial came before it too. A payment that was begun in the
trial is kept to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from fieldkit.trace import TraceEvent
from fieldkit.trials.alignment import Alignment, align
from fieldkit.trials.archive import AgentRecord, agent_record, piece_of
from fieldkit.trials.bounds import ClockId
from fieldkit.trials.packing import Record
from fieldkit.trials.period import last_stop
from twochannel.radio.btsnoop import BtsnoopError, decode

#: Rules and recordings are noted again every 10 minutes (docs/trace.md), and half as much more.
MARGIN_NS: Final = 900 * 1_000_000_000
#: What was read from a clock.
Reading = tuple[ClockId, int]


@dataclass(frozen=True, slots=True)
class Trimmed:
    """``unbounded``: why nothing was left out at an end, a sentence; empty if both are known."""

    records: Sequence[Record]
    files: int
    bytes: int
    unbounded: str = ""


@dataclass(frozen=True, slots=True)
class _Trial:
    """``agents``: implements ``alignment.Trial``."""

    agents: Sequence[AgentRecord]


@dataclass(frozen=True, slots=True)
class _Ends:
    """Nanoseconds on the timeline, uncertainty and margin included; None: not known, or none.

    ``payments``: those that were begun in the trial.
    """

    alignment: Alignment
    from_ns: int | None
    to_ns: int | None
    payments: frozenset[str] = frozenset()

    def before(self, reading: Reading | None) -> bool:
        """Whether that was certainly before the trial."""
        if reading is None or self.from_ns is None:
            return False
        at_ns, within_ns = self.alignment.placed(*reading)
        return at_ns + within_ns < self.from_ns

    def after(self, reading: Reading | None) -> bool:
        """Whether that was certainly after the trial."""
        if reading is None or self.to_ns is None:
            return False
        at_ns, within_ns = self.alignment.placed(*reading)
        return at_ns - within_ns > self.to_ns


def trimmed(trial: str, records: Sequence[Record]) -> Trimmed:
    """The records without the pieces that have no part in ``trial``."""
    read = [_Rings(record) for record in records]
    alignment = align(_Trial([rings.whole for rings in read]))
    ends, unbounded = _ends(trial, [rings.whole for rings in read], alignment)
    kept = [replace(rings.record, files=dict(rings.kept(ends))) for rings in read]
    gone = [
        data
        for before, after in zip(records, kept, strict=True)
        for name, data in before.files.items()
        if name not in after.files
    ]
    return Trimmed(kept, len(gone), sum(map(len, gone)), unbounded)


class _Rings:
    """The pieces of one record, and when the first and last of each was written."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self._events: dict[str, Sequence[TraceEvent]] = {}
        for name, data in self._of("trace"):
            one = agent_record(record.machine, record.agent, record.party, {0: data})
            self._events[name] = one.events
        events = tuple(event for events in self._events.values() for event in events)
        self.whole = AgentRecord(record.machine, record.agent, record.party, events, ())
        self._begun = [e for e in events if e.event == "recording_begun"]

    def _of(self, ring: str) -> list[tuple[str, bytes]]:
        """The pieces of a ring, the oldest first."""
        found = [
            (number, name, data)
            for name, data in self.record.files.items()
            for kind, number in [piece_of(name)]
            if kind == ring
        ]
        return [(name, data) for _, name, data in sorted(found)]

    def kept(self, ends: _Ends) -> Iterator[tuple[str, bytes]]:
        """Of both rings, what has a part in the trial."""
        needed = {
            name
            for name, events in self._events.items()
            if any(event.payment in ends.payments for event in events)
        }
        yield from _between(self._of("trace"), self._of_trace, ends, needed)
        yield from _between(self._of("adverts"), self._of_adverts, ends)

    def _of_trace(self, name: str, _data: bytes) -> list[Reading]:
        return [
            (ClockId(self.record.machine, event.boot), event.mono_ns)
            for event in self._events[name]
        ]

    def _of_adverts(self, name: str, data: bytes) -> list[Reading]:
        """By the run that the piece belongs to; of an unknown one nothing is known."""
        _, number = piece_of(name)
        begun = [e for e in self._begun if int(e.fields["piece"]) <= number]
        if not begun:
            return []
        run = max(begun, key=lambda event: int(event.fields["piece"]))
        clock, epoch_us = ClockId(self.record.machine, run.boot), int(run.fields["epoch_us"])
        try:
            return [(clock, (heard.unix_us - epoch_us) * 1000) for heard in decode(data)]
        except BtsnoopError:
            return []


def _between(
    ring: Sequence[tuple[str, bytes]],
    readings: Callable[[str, bytes], Sequence[Reading]],
    ends: _Ends,
    needed: Collection[str] = (),
) -> Sequence[tuple[str, bytes]]:
    first, last = 0, len(ring)
    for place, (name, data) in enumerate(ring):
        read = readings(name, data)
        if read and ends.before(read[-1]):
            first = place + 1
        if read and ends.after(read[0]):
            last = min(last, place)
    end = max((place for place, (name, _) in enumerate(ring, 1) if name in needed), default=0)
    last = max(last, end)
    return ring[first:last]


def _ends(trial: str, records: Sequence[AgentRecord], alignment: Alignment) -> tuple[_Ends, str]:
    told: Mapping[str, list[tuple[int, float]]] = {"trial_started": [], "trial_stopped": []}
    for record in records:
        for event in record.events:
            if event.event in told and event.fields.get("trial") == trial:
                clock = ClockId(record.machine, event.boot)
                told[event.event].append(alignment.placed(clock, event.mono_ns))
    starts, stops = told.values()
    if not starts and not stops:
        return _Ends(alignment, None, None), f"No machine noted a trial {trial}."
    stop_ns = last_stop([at for at, _ in starts], [at for at, _ in stops])
    from_ns = _earliest(starts)
    to_ns = None if stop_ns is None else _latest(stops)
    missing = "start" if from_ns is None else "end" if to_ns is None else ""
    text = f"The {missing} of trial {trial} is not known." if missing else ""
    ends = _Ends(alignment, from_ns, to_ns)
    return replace(ends, payments=frozenset(_begun(records, ends))), text


def _begun(records: Sequence[AgentRecord], ends: _Ends) -> Iterator[str]:
    for record in records:
        for event in record.events:
            reading = ClockId(record.machine, event.boot), event.mono_ns
            outside = ends.before(reading) or ends.after(reading)
            if event.event == "charge_asked" and event.payment and not outside:
                yield event.payment


def _earliest(placed: Sequence[tuple[int, float]]) -> int | None:
    """None if any of them may have been at any time."""
    least = min((at - within for at, within in placed), default=float("-inf"))
    return None if least == float("-inf") else int(least) - MARGIN_NS


def _latest(placed: Sequence[tuple[int, float]]) -> int | None:
    most = max((at + within for at, within in placed), default=float("inf"))
    return None if most == float("inf") else int(most) + MARGIN_NS

"""When a jack took the time that the server had signed for it: two bounds on its clock. Pure.

A jack knows when it handed its nonce out (``uncertainty_ms`` before it noted the time) and when the
statement came. In between the server's wall clock showed the time in the statement, which is what
the jack's own wall clock goes on from. When that was on the server's monotonic clock is told by
what the server noted just before and after, if its wall clock was not set meanwhile.

So this rests on a wall clock, though on one that is watched, and is asked only where no message
ties a clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from fieldkit.trace import TraceEvent
from fieldkit.trials.bounds import ClockId, Order, Reading
from fieldkit.trials.exchanges import Record, clock_of

_NS_PER_MS: Final = 1_000_000
#: Wall times are told in whole milliseconds, at four places between the server's clock and the
#: jack's line.
_ROUNDED_NS: Final = 5 * _NS_PER_MS
#: During the round trip the server's wall clock may be slewed (500 ppm) and clocks drift (100 ppm).
_SLEWED_PER_MILLION: Final = 1_000
#: Between two lines that are further apart against the monotonic clock the wall clock was moved.
_STEADY_NS: Final = 5 * _NS_PER_MS
#: And here it was set (docs/trace.md).
_SET_NS: Final = 50 * _NS_PER_MS


@dataclass(frozen=True, slots=True)
class _Span:
    """Between two lines of the server, which ran on the same clock."""

    clock: ClockId
    before: TraceEvent
    after: TraceEvent

    @property
    def moved_ns(self) -> int:
        """By how much the wall clock was moved against the monotonic one meanwhile."""
        return abs(_ahead_ns(self.after) - _ahead_ns(self.before))

    def holds(self, wall_ns: int) -> bool:
        return self.before.wall_ms * _NS_PER_MS <= wall_ns <= self.after.wall_ms * _NS_PER_MS


def signed_times(records: Sequence[Record]) -> Iterator[Order]:
    """Two for each time that a jack learned anew and that the server's record can place."""
    servers = [record for record in records if record.party == "server"]
    if len(servers) != 1:
        return  # Nobody says whose time it was.
    spans = [
        _Span(clock_of(servers[0], before), before, after)
        for before, after in pairwise(servers[0].events)
        if before.boot == after.boot
    ]
    if any(span.moved_ns > _SET_NS for span in spans):
        return  # It may have shown the same time twice.
    for record in records:
        events = record.events
        for before, learned, after in zip(events, events[1:], events[2:], strict=False):
            if _is_first(before, learned) and _is_whole(learned, after):
                yield from _bounds(record, learned, spans)


def _is_first(before: TraceEvent, learned: TraceEvent) -> bool:
    """Once a jack knows the time its clock never goes back, so that it may not be the server's."""
    return (
        (learned.event, learned.clock) == ("clock_synchronised", "server")
        and (before.boot, before.clock) == (learned.boot, "unsynchronised")
        and isinstance(learned.fields.get("uncertainty_ms"), int)
    )


def _is_whole(learned: TraceEvent, after: TraceEvent) -> bool:
    """Its two clocks were read at once, as the next line shows."""
    same = (after.boot, after.clock) == (learned.boot, learned.clock)
    return same and abs(_ahead_ns(after) - _ahead_ns(learned)) <= _STEADY_NS


def _bounds(record: Record, learned: TraceEvent, spans: Sequence[_Span]) -> Iterator[Order]:
    jack = Reading(clock_of(record, learned), learned.mono_ns)
    trip_ns = learned.fields["uncertainty_ms"] * _NS_PER_MS
    spare_ns = _STEADY_NS + _ROUNDED_NS + trip_ns * _SLEWED_PER_MILLION // 1_000_000
    # On the server's wall clock: not before the time in the statement, nor after it had arrived.
    signed_ns = learned.wall_ms * _NS_PER_MS
    earliest, latest = _on_server(signed_ns, spans), _on_server(signed_ns + trip_ns, spans)
    if earliest is not None and latest is not None:
        why = f"time signed by the server and learned by {record.agent}"
        yield Order(earliest[0], jack, why, earliest[1] + spare_ns)
        yield Order(jack, latest[0], why, latest[1] + spare_ns)


def _on_server(wall_ns: int, spans: Sequence[_Span]) -> tuple[Reading, int] | None:
    """When the server's wall clock showed that, and how far that may be off; None if unclear."""
    found = [span for span in spans if span.holds(wall_ns)]
    ahead_ns = [_ahead_ns(event) for span in found for event in (span.before, span.after)]
    if len({span.clock for span in found}) != 1:
        return None
    moved_ns = max(ahead_ns) - min(ahead_ns)
    if moved_ns > _STEADY_NS:
        return None
    return Reading(found[0].clock, wall_ns - ahead_ns[0]), moved_ns


def _ahead_ns(event: TraceEvent) -> int:
    return event.wall_ms * _NS_PER_MS - event.mono_ns

"""In a virtual trial the truth is known: how the timeline compares with it. Pure.

The player tells one reading of each boot's clock, with the true time and the boot's id. Its
machines share one quartz, so that every other reading follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fieldkit.trials.alignment import Alignment, Basis, Clock
from fieldkit.trials.bounds import ClockId

_NS_PER_US: Final = 1_000
#: The player tells whole microseconds, of both clocks.
TRUE_WITHIN_NS: Final = 2_000


@dataclass(frozen=True, slots=True)
class ClockTruth:
    """One clock: whether its bounds hold the truth, and how far beside their middle it lies."""

    clock: ClockId
    inside: bool
    worst_ms: float


def true_clock(
    alignment: Alignment, truth: Mapping[str, Any] | None
) -> Callable[[float], int] | None:
    """From true microseconds to the timeline's nanoseconds; None if that is not told."""
    ahead_ns = _ahead_ns(alignment.reference, truth)
    if ahead_ns is None:
        return None
    return lambda true_us: int(true_us * _NS_PER_US) - ahead_ns


def clock_truths(alignment: Alignment, truth: Mapping[str, Any] | None) -> list[ClockTruth]:
    """Of every clock that is told in ``truth`` and was placed without its wall clock."""
    reference_ns = _ahead_ns(alignment.reference, truth)
    found = []
    for clock in alignment.clocks:
        ahead_ns = _ahead_ns(clock.id, truth)
        placed = clock.basis in {Basis.MESSAGES, Basis.SIGNED, Basis.BEACONS}
        if reference_ns is not None and ahead_ns is not None and placed:
            found.append(_compared(alignment, clock, ahead_ns - reference_ns))
    return found


def _compared(alignment: Alignment, clock: Clock, offset_ns: int) -> ClockTruth:
    """At the ends of its record and in the middle; ``offset_ns``: what its readings lack."""
    inside, worst_ns = True, 0
    for mono_ns in (clock.first_ns, (clock.first_ns + clock.last_ns) // 2, clock.last_ns):
        found, true_ns = alignment.interval(clock.id, mono_ns), mono_ns + offset_ns
        low_ns, high_ns = found.earliest_ns - TRUE_WITHIN_NS, found.latest_ns + TRUE_WITHIN_NS
        inside = inside and low_ns <= true_ns <= high_ns
        worst_ns = max(worst_ns, abs(found.middle_ns - true_ns))
    return ClockTruth(clock.id, inside, round(worst_ns / 1e6, 3))


def _ahead_ns(clock: ClockId, truth: Mapping[str, Any] | None) -> int | None:
    """How far true time is ahead of a clock's readings."""
    for mono_us, true_us, boot in (truth or {}).get("clock_offsets_us", {}).get(clock.machine, ()):
        if boot == clock.boot:
            return int(true_us - mono_us) * _NS_PER_US
    return None

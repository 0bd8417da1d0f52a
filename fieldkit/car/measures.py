"""What a run in the car says of its radios, by the traces and a witness beside the lane. Pure.

The witness is a radio of nobody's without kernel and BlueZ: what it hears was on the air.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from fieldkit.bench.quantiles import quantile
from fieldkit.sniffer import HeardCode
from fieldkit.trace import TraceEvent

_NS_PER_MS: Final = 1_000_000
#: An invitation is noted so long before or after the beacon's last advert, at most.
_INVITED_WITHIN_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class RadioFigures:
    """Of a jack that stood beside a lane: ``adverts`` the witness heard, and how far apart.

    ``blind_ms``: the longest time for which the terminal heard none of them, beside the longest of
    the witness. ``rssi_values``: different strengths that it was told; ``rssi_step_db``: the
    smallest step between two. ``code_changes_ms``: from the last advert of a code to the first of
    the next, on the air, unless an invitation was sent instead of the beacon meanwhile.
    """

    adverts: int
    interval_median_ms: float
    interval_p99_ms: float
    silent_ms: float
    blind_ms: float
    rssi_values: int
    rssi_step_db: int
    code_changes_ms: Sequence[float]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def figures(
    on_air: Sequence[HeardCode],
    heard: Sequence[TraceEvent],
    of_jack: Sequence[TraceEvent],
    window_ns: tuple[int, int],
) -> RadioFigures | None:
    """Of what was ``on_air`` and what a terminal ``heard`` in a window; None if that is nothing.

    ``of_jack``: the jack's trace of the whole run.
    """
    begin_ns, end_ns = window_ns
    aired_ns = [code.heard_ns for code in on_air if begin_ns <= code.heard_ns <= end_ns]
    taken = [event for event in heard if begin_ns <= event.mono_ns <= end_ns]
    gaps, blind = _gaps_ms(aired_ns), _gaps_ms([event.mono_ns for event in taken])
    levels = sorted({int(event.fields["rssi_dbm"]) for event in taken})
    if not gaps or not blind:
        return None
    return RadioFigures(
        adverts=len(aired_ns),
        interval_median_ms=round(quantile(gaps, 0.5), 1),
        interval_p99_ms=round(quantile(gaps, 0.99), 1),
        silent_ms=round(gaps[-1]),
        blind_ms=round(blind[-1]),
        rssi_values=len(levels),
        rssi_step_db=min((b - a for a, b in itertools.pairwise(levels)), default=0),
        code_changes_ms=[round(ms) for ms in _code_changes_ms(on_air, of_jack)],
    )


def _gaps_ms(times_ns: Sequence[int]) -> list[float]:
    """Sorted."""
    ordered = itertools.pairwise(sorted(times_ns))
    return sorted((late - early) / _NS_PER_MS for early, late in ordered)


def _code_changes_ms(on_air: Sequence[HeardCode], of_jack: Sequence[TraceEvent]) -> list[float]:
    """For each code that followed another while both could be heard."""
    invited_ns = [event.mono_ns for event in of_jack if event.event == "inviting"]
    rotated = [event for event in of_jack if event.event == "beacon_rotated"]
    changes = []
    for before, after in itertools.pairwise(rotated):
        if before.boot != after.boot or before.fields["handle"] == after.fields["handle"]:
            continue  # the jack was away in between
        last = [c.heard_ns for c in on_air if c.handle == before.fields["handle"]]
        first = [c.heard_ns for c in on_air if c.handle == after.fields["handle"]]
        if last and first and not _any_between(invited_ns, last[-1], first[0]):
            changes.append((first[0] - last[-1]) / _NS_PER_MS)
    return changes


def _any_between(times_ns: Sequence[int], since_ns: int, until_ns: int) -> bool:
    return any(since_ns - _INVITED_WITHIN_NS <= at_ns <= until_ns for at_ns in times_ns)

"""The RSSI trace of a demo: how strongly each terminal heard each code over time. Pure.

Drawn in a box of 1000 by 400 units that may be stretched to any size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from fieldkit.trace import TraceEvent

WIDTH: Final = 1000
HEIGHT: Final = 400
_GRID_DBM: Final = 10
_MEDIAN_SAMPLES: Final = 7
#: A code not heard for this long has left: its line is broken there.
_GAP_S: Final = 1.0
_NS_PER_S: Final = 1_000_000_000
_LEAST_DBM_SPAN: Final = 30


@dataclass(frozen=True, slots=True)
class Series:
    """One code at one terminal: ``dots`` and ``line`` are SVG path data."""

    terminal: str
    handle: str
    color: int
    samples: int
    dots: str
    line: str


@dataclass(frozen=True, slots=True)
class Band:
    """A journey: where it lies, in percent of the width."""

    name: str
    left: float
    width: float


@dataclass(frozen=True, slots=True)
class Grid:
    """A grid line: percent from the top or left, and its text."""

    place: float
    text: str


@dataclass(frozen=True, slots=True)
class RssiPlot:
    series: Sequence[Series]
    bands: Sequence[Band]
    levels: Sequence[Grid]
    seconds: Sequence[Grid]


@dataclass(frozen=True, slots=True)
class _Frame:
    """What the box shows: nanoseconds across, dBm upwards."""

    from_ns: int
    to_ns: int
    low_dbm: int
    high_dbm: int

    def x(self, at_ns: int) -> float:
        return round((at_ns - self.from_ns) / (self.to_ns - self.from_ns) * WIDTH, 1)

    def y(self, rssi_dbm: float) -> float:
        share = (self.high_dbm - rssi_dbm) / (self.high_dbm - self.low_dbm)
        return round(share * HEIGHT, 1)


def plot(events: Iterable[TraceEvent], journeys: Sequence[tuple[str, int, int]]) -> RssiPlot | None:
    """Every ``code_heard``; ``journeys``: name, begin and end in ns. None if nothing was heard."""
    heard = sorted((e for e in events if e.event == "code_heard"), key=lambda e: e.mono_ns)
    if len(heard) < 2 or heard[0].mono_ns == heard[-1].mono_ns:
        return None
    levels = [int(event.fields["rssi_dbm"]) for event in heard]
    low_dbm = min(levels) // _GRID_DBM * _GRID_DBM
    high_dbm = max(-(-max(levels) // _GRID_DBM) * _GRID_DBM, low_dbm + _LEAST_DBM_SPAN)
    frame = _Frame(heard[0].mono_ns, heard[-1].mono_ns, low_dbm, high_dbm)
    return RssiPlot(
        series=_series(heard, frame),
        bands=[_band(journey, frame) for journey in journeys],
        levels=[
            Grid(round(frame.y(level) / HEIGHT * 100, 2), f"{level}")
            for level in range(low_dbm, high_dbm + 1, _GRID_DBM)
        ],
        seconds=_seconds(frame),
    )


def _series(heard: Sequence[TraceEvent], frame: _Frame) -> list[Series]:
    groups: dict[tuple[str, str], list[TraceEvent]] = {}
    for event in heard:
        groups.setdefault((event.agent, str(event.fields["jack"])), []).append(event)
    terminals = sorted({agent for agent, _ in groups})
    return [
        Series(
            terminal=agent,
            handle=handle,
            color=terminals.index(agent),
            samples=len(events),
            dots=_dots(events, frame),
            line=_line(events, frame),
        )
        for (agent, handle), events in sorted(groups.items())
    ]


def _dots(events: Sequence[TraceEvent], frame: _Frame) -> str:
    """Lines of no length: with round caps they are dots that no stretching deforms."""
    return "".join(f"M{frame.x(e.mono_ns)} {frame.y(e.fields['rssi_dbm'])}h0" for e in events)


def _line(events: Sequence[TraceEvent], frame: _Frame) -> str:
    """The running median of the last samples, broken where the code was not heard."""
    parts: list[str] = []
    recent: list[float] = []
    last_ns: int | None = None
    for event in events:
        broken = last_ns is None or event.mono_ns - last_ns > _GAP_S * _NS_PER_S
        recent = ([] if broken else recent)[1 - _MEDIAN_SAMPLES :]
        recent.append(event.fields["rssi_dbm"])
        move = "M" if broken else "L"
        parts.append(f"{move}{frame.x(event.mono_ns)} {frame.y(median(recent))}")
        last_ns = event.mono_ns
    return "".join(parts)


def _band(journey: tuple[str, int, int], frame: _Frame) -> Band:
    name, began_ns, ended_ns = journey
    left = min(max(frame.x(began_ns), 0.0), WIDTH)
    right = min(max(frame.x(ended_ns), 0.0), WIDTH)
    return Band(name, round(left / WIDTH * 100, 2), round((right - left) / WIDTH * 100, 2))


def _seconds(frame: _Frame) -> list[Grid]:
    length_s = (frame.to_ns - frame.from_ns) / _NS_PER_S
    step_s = next(step for step in (1, 2, 5, 10, 30, 60, 300, 1800, 7200) if length_s / step <= 9)
    return [
        Grid(round(second / length_s * 100, 2), f"{second} s")
        for second in range(0, int(length_s * 0.97) + 1, step_s)
    ]

"""The waterfall of a payment: what each party did when, ready to be drawn. Pure.

Places are percent of the drawing's width. Long waits in which nothing happens (an owner who
thinks) are folded, so that the milliseconds around them can still be told apart.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

from fieldkit.trace import TraceEvent

PARTIES: Final = ("terminal", "server", "phone", "jack")

#: Party, first event, last event, what it was doing in between.
SPANS: Final = (
    ("terminal", "charge_asked", "jack_chosen", "chooses the jack"),
    ("terminal", "lane_broadcast", "lane_silenced", "broadcasts its lane nonce"),
    ("terminal", "request_sent", "request_answered", "waits for the outcome"),
    ("server", "request_received", "challenge_issued", "resolves the code, makes the challenge"),
    ("phone", "auth_code_asked", "auth_code_received", "asks the jack for the auth code"),
    ("phone", "gatt_tried", "auth_code_received", "asks the jack over Bluetooth GATT"),
    ("jack", "challenge_received", "auth_code_signed", "listens for the lane, signs"),
    ("phone", "prompt_shown", "decision", "asks its owner"),
    ("phone", "confirmation_sent", "confirmation_answered", "sends the confirmation"),
    ("server", "confirmation_received", "payment_confirmed", "verifies the auth code"),
    ("server", "processor_called", "processor_answered", "calls the processor"),
)
#: Sender and receiver of what goes from one party to another.
MESSAGES: Final = (
    (("terminal", "lane_broadcast"), ("jack", "lane_heard")),
    (("terminal", "request_sent"), ("server", "request_received")),
    (("server", "challenge_issued"), ("phone", "challenge_received")),
    (("phone", "auth_code_asked"), ("jack", "challenge_received")),
    (("phone", "gatt_tried"), ("jack", "challenge_received")),
    (("jack", "auth_code_signed"), ("phone", "auth_code_received")),
    (("phone", "confirmation_sent"), ("server", "confirmation_received")),
    (("server", "payment_confirmed"), ("phone", "confirmation_answered")),
    (("server", "processor_answered"), ("terminal", "payment_settled")),
)
_BY_RADIO: Final = frozenset({"lane_broadcast", "gatt_tried"})
#: A wait this long, and this large a part of the whole, is folded to a strip of this width.
FOLD_FROM_MS: Final = 100.0
FOLD_FROM_SHARE: Final = 0.3
FOLD_WIDTH: Final = 7.0

#: A sender notes what it has sent when it is on its way, perhaps after its receiver.
_NOTED_LATE_NS: Final = 5_000_000
_NS_PER_MS: Final = 1_000_000
_LEAST_TICKS: Final = 6


@dataclass(frozen=True, slots=True)
class Bar:
    """From one event of a party to another. ``row``: 1 below a bar of the same party, else 0."""

    party: str
    text: str
    from_ms: float
    to_ms: float
    left: float
    width: float
    row: int = 0

    @property
    def duration_ms(self) -> float:
        return round(self.to_ms - self.from_ms, 1)


@dataclass(frozen=True, slots=True)
class Point:
    """A single event. ``detail``: its fields, as short text."""

    party: str
    event: str
    at_ms: float
    left: float
    detail: str


@dataclass(frozen=True, slots=True)
class Message:
    """Something that went from one party to another; places in percent.

    ``by_radio``: over Bluetooth, as adverts from terminal to jack or over GATT.
    """

    sender: str
    receiver: str
    left: float
    right: float
    by_radio: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A tick, or a folded wait, with its text."""

    left: float
    text: str


@dataclass(frozen=True, slots=True)
class Waterfall:
    """One payment, ready to be drawn."""

    bars: Sequence[Bar]
    points: Sequence[Point]
    messages: Sequence[Message]
    ticks: Sequence[Mark]
    folds: Sequence[Mark]


class TimeAxis:
    """Milliseconds to percent, piecewise linear: folded waits get a fixed width each."""

    def __init__(self, times_ms: Sequence[float]) -> None:
        """``times_ms``: when things happened, sorted; at least one."""
        span_ms = (times_ms[-1] - times_ms[0]) or 1.0
        least_ms = max(FOLD_FROM_MS, FOLD_FROM_SHARE * span_ms)
        steps = list(pairwise(times_ms))
        self.folds = [(a, b) for a, b in steps if b - a >= least_ms]
        open_ms = span_ms - sum(b - a for a, b in self.folds) or 1.0
        scale = (100.0 - FOLD_WIDTH * len(self.folds)) / open_ms
        self._times_ms = list(times_ms)
        self._places = [0.0]
        for a, b in steps:
            width = FOLD_WIDTH if (a, b) in self.folds else (b - a) * scale
            self._places.append(self._places[-1] + width)

    def place(self, at_ms: float) -> float:
        """Percent from the left, 0 to 100."""
        index = min(max(bisect_right(self._times_ms, at_ms) - 1, 0), len(self._times_ms) - 1)
        if index + 1 == len(self._times_ms):
            return round(self._places[index], 2)
        a, b = self._times_ms[index], self._times_ms[index + 1]
        share = (at_ms - a) / (b - a) if b > a else 0.0
        return round(
            self._places[index] + share * (self._places[index + 1] - self._places[index]), 2
        )


def draw(events: Sequence[TraceEvent]) -> Waterfall | None:
    """The waterfall of one payment's ``events``, sorted by time; None if there are none."""
    if not events:
        return None
    began_ns = events[0].mono_ns
    at_ms = {id(event): (event.mono_ns - began_ns) / _NS_PER_MS for event in events}
    axis = TimeAxis([at_ms[id(event)] for event in events])
    bars, used = _bars(events, at_ms, axis)
    points = [
        Point(e.party, e.event, round(at_ms[id(e)], 1), axis.place(at_ms[id(e)]), _detail(e.fields))
        for e in events
        if id(e) not in used
    ]
    folds = [Mark((axis.place(a) + axis.place(b)) / 2, _duration(b - a)) for a, b in axis.folds]
    return Waterfall(bars, points, _messages(events, at_ms, axis), _ticks(axis, at_ms), folds)


def _bars(
    events: Sequence[TraceEvent], at_ms: Mapping[int, float], axis: TimeAxis
) -> tuple[list[Bar], set[int]]:
    bars: list[Bar] = []
    used: set[int] = set()
    for party, first, last, text in SPANS:
        ends: set[int] = set()
        for begin in (e for e in events if (e.party, e.event) == (party, first)):
            end = _first_from(events, (party, last), begin.mono_ns, ends)
            if end is not None:
                ends.add(id(end))
                used |= {id(begin), id(end)}
                a, b = at_ms[id(begin)], at_ms[id(end)]
                left = axis.place(a)
                bars.append(Bar(party, text, a, b, left, round(axis.place(b) - left, 2)))
    return _stacked(sorted(bars, key=lambda bar: (bar.from_ms, -bar.to_ms))), used


def _stacked(bars: Sequence[Bar]) -> list[Bar]:
    """A bar that begins before an earlier one of its party has ended goes below it."""
    stacked: list[Bar] = []
    for bar in bars:
        above = (b for b in stacked if b.party == bar.party and b.row == 0)
        covered = any(b.left + b.width > bar.left for b in above)
        stacked.append(replace(bar, row=1) if covered else bar)
    return stacked


def _messages(
    events: Sequence[TraceEvent], at_ms: Mapping[int, float], axis: TimeAxis
) -> list[Message]:
    """What arrived is what was sent last: a request over Wi-Fi may have got lost before."""
    arrived: dict[int, tuple[int, Message]] = {}
    for sent, received in MESSAGES:
        taken: set[int] = set()
        for begin in (e for e in events if (e.party, e.event) == sent):
            end = _first_from(events, received, begin.mono_ns - _NOTED_LATE_NS, taken)
            if end is not None:
                taken.add(id(end))
                left, right = axis.place(at_ms[id(begin)]), axis.place(at_ms[id(end)])
                by_radio = begin.event in _BY_RADIO or end.fields.get("path") == "gatt"
                message = Message(begin.party, end.party, left, right, by_radio)
                if begin.mono_ns > arrived.get(id(end), (-1, message))[0]:
                    arrived[id(end)] = begin.mono_ns, message
    return [message for _, message in arrived.values()]


def _first_from(
    events: Sequence[TraceEvent], key: tuple[str, str], from_ns: int, used: set[int]
) -> TraceEvent | None:
    for event in events:
        matches = (event.party, event.event) == key and id(event) not in used
        if matches and event.mono_ns >= from_ns:
            return event
    return None


def _ticks(axis: TimeAxis, at_ms: Mapping[int, float]) -> list[Mark]:
    """Round times outside folded waits, where each has room for its text."""
    times_ms = sorted(at_ms.values())
    folded_ms = sum(b - a for a, b in axis.folds)
    step_ms = _round_step((times_ms[-1] - folded_ms) / _LEAST_TICKS)
    ticks: list[Mark] = []
    for number in range(int(times_ms[-1] / step_ms) + 1):
        tick_ms = number * step_ms
        place = axis.place(tick_ms)
        folded = any(a < tick_ms < b for a, b in axis.folds)
        if not folded and place <= 96 and (not ticks or place - ticks[-1].left >= 9):
            ticks.append(Mark(place, _duration(tick_ms)))
    return ticks


def _round_step(least_ms: float) -> float:
    """The smallest of 1, 2, 5, 10, 20 … ms that is not below ``least_ms``."""
    step_ms = 1.0
    while True:
        for factor in (1, 2, 5):
            if step_ms * factor >= least_ms:
                return step_ms * factor
        step_ms *= 10


def _duration(ms: float) -> str:
    return f"{ms / 1000:.1f} s" if ms >= 1000 else f"{ms:.0f} ms"


def _detail(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in fields.items() if value not in ("", None))

"""What a lane heard over a trial, what it decided, and which car was there: to be drawn. Pure.

Levels lie in a box of 1000 by 400 units that may be stretched to any size, all else in percent of
the width. A trial of hours has more adverts than a screen has points, so dots that fall on the same
point are drawn once, and the line has one point for each column.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from fieldkit.rssi_plot import HEIGHT, WIDTH, Grid
from fieldkit.trials.blindness import heard_by, threshold_dbm
from fieldkit.trials.figures import Figures
from fieldkit.trials.timeline import Happening, Timeline

_GRID_DBM: Final = 10
_LEAST_DBM_SPAN: Final = 30
_MEDIAN_SAMPLES: Final = 7
#: A jack not heard for this long has left: its line is broken there.
_GAP_NS: Final = 2_000_000_000
#: Colours of jacks in the style sheet.
_COLORS: Final = 6
_LEAST_WIDTH: Final = 0.25
#: Jacks that get a name and a colour; of a busy road the rest is one group.
_MOST_JACKS: Final = 8
_STEPS_S: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 21600, 86400)
_OTHERS: Final = "others"


@dataclass(frozen=True, slots=True)
class Series:
    """One jack at one lane: ``dots`` and ``line`` are SVG path data."""

    jack: str
    color: int
    samples: int
    dots: str
    line: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A time on a strip, in percent of the width. ``kind``: its class in the style sheet."""

    left: float
    width: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class LanePlot:
    """``decisions``: what the lane found; ``asked``: payments; ``truth``: as marked."""

    terminal: str
    series: Sequence[Series]
    levels: Sequence[Grid]
    ticks: Sequence[Grid]
    threshold: float
    decisions: Sequence[Segment]
    asked: Sequence[Segment]
    truth: Sequence[Segment]
    blind: Sequence[Segment]


@dataclass(frozen=True, slots=True)
class Frame:
    """What the drawing shows: nanoseconds across, dBm upwards."""

    from_ns: int
    to_ns: int
    low_dbm: int = -100
    high_dbm: int = 0

    def left(self, at_ns: int) -> float:
        """Percent from the left, kept inside."""
        share = (at_ns - self.from_ns) / max(self.to_ns - self.from_ns, 1)
        return round(min(max(share, 0.0), 1.0) * 100, 2)

    def x(self, at_ns: int) -> int:
        return round(self.left(at_ns) * WIDTH / 100)

    def y(self, rssi_dbm: float) -> float:
        return round((self.high_dbm - rssi_dbm) / (self.high_dbm - self.low_dbm) * HEIGHT, 1)

    def segment(self, from_ns: int, to_ns: int, kind: str, text: str) -> Segment:
        left = self.left(from_ns)
        return Segment(left, round(max(self.left(to_ns) - left, _LEAST_WIDTH), 2), kind, text)


def lane_plots(figures: Figures) -> list[LanePlot]:
    """One for each terminal that has heard anything."""
    timeline = figures.timeline
    names = _names(timeline)
    during = {
        terminal: [h for h in heard if figures.began_ns <= h.at_ns <= figures.ended_ns]
        for terminal, heard in sorted(heard_by(timeline).items())
    }
    return [_plot(terminal, heard, figures, names) for terminal, heard in during.items() if heard]


def _names(timeline: Timeline) -> dict[str, str]:
    """Handle -> jack, of the jacks that were recorded."""
    return {str(h.field("handle")): h.agent for h in timeline.named("beacon_rotated")}


def _plot(
    terminal: str, heard: Sequence[Happening], figures: Figures, names: dict[str, str]
) -> LanePlot:
    timeline = figures.timeline
    levels = [int(h.field("rssi_dbm")) for h in heard]
    low_dbm = min(levels) // _GRID_DBM * _GRID_DBM
    high_dbm = max(-(-max(levels) // _GRID_DBM) * _GRID_DBM, low_dbm + _LEAST_DBM_SPAN)
    frame = Frame(figures.began_ns, figures.ended_ns, low_dbm, high_dbm)
    threshold = frame.y(threshold_dbm(timeline, terminal)) / HEIGHT * 100
    lane_names = {terminal, timeline.machine(terminal), terminal.rpartition("/")[2]}
    return LanePlot(
        terminal=terminal,
        series=_series(heard, frame, names),
        levels=[
            Grid(round(frame.y(level) / HEIGHT * 100, 2), f"{level}")
            for level in range(low_dbm, high_dbm + 1, _GRID_DBM)
        ],
        ticks=ticks(timeline, frame),
        threshold=round(min(max(threshold, 0), 100), 2),
        decisions=_decisions(timeline, terminal, frame),
        asked=[
            frame.segment(
                judged.attempt.asked_ns,
                judged.attempt.ended_ns,
                _kind(judged.attempt.outcome.value),
                f"{judged.attempt.payment[-6:]}: {judged.attempt.outcome.value}",
            )
            for judged in figures.judged
            if judged.attempt.terminal == terminal
        ],
        truth=[
            frame.segment(p.from_ns, p.to_ns or frame.to_ns, "truth", p.jack)
            for p in figures.presences
            if p.jack and p.lane in lane_names and (p.to_ns is None or p.to_ns > frame.from_ns)
            if p.from_ns <= frame.to_ns
        ],
        blind=[
            frame.segment(w.from_ns, w.to_ns, "blind", f"blind for {w.length_s:.1f} s: {w.why}")
            for w in figures.blind
            if w.terminal == terminal
        ],
    )


def _kind(outcome: str) -> str:
    return {"paid": "good", "failed": "bad"}.get(outcome, "quiet")


def _series(heard: Iterable[Happening], frame: Frame, names: dict[str, str]) -> list[Series]:
    groups: dict[str, list[Happening]] = {}
    for happening in heard:
        handle = str(happening.field("jack"))
        groups.setdefault(names.get(handle, f"code {handle}…"), []).append(happening)
    ranked = sorted(groups, key=lambda jack: (jack.startswith("code "), -len(groups[jack])))
    for jack in ranked[_MOST_JACKS:]:
        groups.setdefault(_OTHERS, []).extend(groups.pop(jack))
    shown = [*ranked[:_MOST_JACKS], *([_OTHERS] if _OTHERS in groups else [])]
    return [
        Series(
            jack=jack,
            color=number % _COLORS,
            samples=len(groups[jack]),
            dots=_dots(groups[jack], frame),
            line="" if jack == _OTHERS else _line(groups[jack], frame),
        )
        for number, jack in enumerate(shown)
    ]


def _dots(events: Iterable[Happening], frame: Frame) -> str:
    """Lines of no length: with round caps they are dots that no stretching deforms."""
    points = dict.fromkeys((frame.x(h.at_ns), frame.y(h.field("rssi_dbm"))) for h in events)
    return "".join(f"M{x} {y:g}h0" for x, y in points)


def _line(events: Iterable[Happening], frame: Frame) -> str:
    """The running median of the last samples, broken where the jack was not heard."""
    parts: list[str] = []
    recent: list[float] = []
    last_ns, last_x = 0, -1
    for happening in events:
        broken = not parts or happening.at_ns - last_ns > _GAP_NS
        recent = ([] if broken else recent)[1 - _MEDIAN_SAMPLES :]
        recent.append(happening.field("rssi_dbm"))
        x = frame.x(happening.at_ns)
        if broken or x != last_x:
            parts.append(f"{'M' if broken else 'L'}{x} {frame.y(median(recent)):g}")
        last_ns, last_x = happening.at_ns, x
    return "".join(parts)


_DECIDED: Final = {"chosen": "good", "ambiguous": "amber", "none": "quiet"}


def _decisions(timeline: Timeline, terminal: str, frame: Frame) -> list[Segment]:
    """From one noted answer of the lane to the next; equal neighbours are one."""
    noted = timeline.of_agent(terminal, frame.from_ns, frame.to_ns, ("lane_decision",))
    segments: list[Segment] = []
    begun: Happening | None = None
    for decision, after in zip(noted, [*noted[1:], None], strict=False):
        begun = begun or decision
        near = after is not None and after.at_ns - decision.at_ns <= _GAP_NS
        if after is not None and near and _told(after) == _told(decision):
            continue
        until_ns = min(after.at_ns if after else frame.to_ns, decision.at_ns + _GAP_NS)
        kind = _DECIDED.get(str(decision.field("outcome")), "quiet")
        segments.append(frame.segment(begun.at_ns, until_ns, kind, _told(decision)))
        begun = None
    return segments


def _told(decision: Happening) -> str:
    detail = decision.field("jack") or str(decision.field("reason") or "").replace("_", " ")
    return f"{decision.field('outcome')} {detail}".strip()


def ticks(timeline: Timeline, frame: Frame) -> list[Grid]:
    """Round times of day."""
    ahead_ns = timeline.alignment.wall_ahead_ns
    length_s = (frame.to_ns - frame.from_ns) / 1e9
    step_s = next((step for step in _STEPS_S if length_s / step <= 7), _STEPS_S[-1])
    step_ns = step_s * 1_000_000_000
    first_ns = -(-(frame.from_ns + ahead_ns) // step_ns) * step_ns - ahead_ns
    digits = 8 if step_s < 60 else 5
    return [
        Grid(frame.left(at_ns), timeline.clock_text(at_ns)[:digits])
        for at_ns in range(first_ns, frame.to_ns, step_ns)
        if 2 <= frame.left(at_ns) <= 96
    ]

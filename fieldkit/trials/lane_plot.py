"""What a lane heard over a trial, what it decided, and which car was there: to be drawn. Pure.

Levels lie in a box of 1000 by 400 units that may be stretched to any size, all else in percent of
the width. A trial of hours has more adverts than a screen has points, so dots that fall on the same
point are drawn once, and the line has one point for each column.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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
    """A time on a strip, in percent of the width. ``kind``: its class in the style sheet.

    ``jack``: whom it is about, empty if nobody, and the ``color`` of that one.
    """

    left: float
    width: float
    kind: str
    text: str
    jack: str = ""
    color: int = 0


@dataclass(frozen=True, slots=True)
class LanePlot:
    """``decisions``: what the lane found; ``asked``: payments; ``truth``: as marked.

    ``unheard``: jacks on these strips that the lane never heard, with their colours.
    """

    terminal: str
    series: Sequence[Series]
    levels: Sequence[Grid]
    ticks: Sequence[Grid]
    threshold: float
    decisions: Sequence[Segment]
    asked: Sequence[Segment]
    truth: Sequence[Segment]
    blind: Sequence[Segment]
    unheard: Sequence[tuple[str, int]]


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


class Jacks:
    """What jacks are called, and each one's colour, which is the same at every lane."""

    def __init__(self, timeline: Timeline, heard: Iterable[Happening]) -> None:
        self._by_handle = {
            str(h.field("handle")): h.agent for h in timeline.named("beacon_rotated")
        }
        jacks = [agent for agent, party in timeline.agents.items() if party == "jack"]
        self._by_alias = {
            alias: jack
            for jack in jacks
            for alias in (timeline.machine(jack), jack.rpartition("/")[2], jack)
        }
        counts = Counter(self.heard(h.field("jack")) for h in heard)
        ranked = sorted(
            counts | Counter(jacks), key=lambda jack: (jack not in jacks, -counts[jack])
        )
        self._colors = {jack: number % _COLORS for number, jack in enumerate(ranked)}

    def heard(self, handle: object) -> str:
        """The jack that had this code on the air, or the code where none is known for it."""
        return self._by_handle.get(str(handle), f"code {handle}…")

    def marked(self, name: str) -> str:
        """The jack that people call so: by its own name or its machine's."""
        return self._by_alias.get(name, name)

    def about(self, jack: str, segment: Segment) -> Segment:
        """``segment`` as one about that jack."""
        return replace(segment, jack=jack, color=self.color(jack)) if jack else segment

    def color(self, jack: str) -> int:
        """A number of the style sheet; with many jacks several have the same."""
        return self._colors.setdefault(jack, len(self._colors) % _COLORS)


def lane_plots(figures: Figures) -> list[LanePlot]:
    """One for each terminal that has heard anything."""
    timeline = figures.timeline
    during = {
        terminal: [h for h in heard if figures.began_ns <= h.at_ns <= figures.ended_ns]
        for terminal, heard in sorted(heard_by(timeline).items())
    }
    jacks = Jacks(timeline, (h for heard in during.values() for h in heard))
    return [_plot(terminal, heard, figures, jacks) for terminal, heard in during.items() if heard]


def _plot(terminal: str, heard: Sequence[Happening], figures: Figures, jacks: Jacks) -> LanePlot:
    timeline = figures.timeline
    levels = [int(h.field("rssi_dbm")) for h in heard]
    low_dbm = min(levels) // _GRID_DBM * _GRID_DBM
    high_dbm = max(-(-max(levels) // _GRID_DBM) * _GRID_DBM, low_dbm + _LEAST_DBM_SPAN)
    frame = Frame(figures.began_ns, figures.ended_ns, low_dbm, high_dbm)
    threshold = frame.y(threshold_dbm(timeline, terminal)) / HEIGHT * 100
    series = _series(heard, frame, jacks)
    decisions = _decisions(timeline, terminal, frame, jacks)
    asked = _asked(figures, terminal, frame, jacks)
    truth = _truth(figures, terminal, frame, jacks)
    shown = {s.jack: s.color for s in (*decisions, *asked, *truth) if s.jack}
    return LanePlot(
        terminal=terminal,
        series=series,
        levels=[
            Grid(round(frame.y(level) / HEIGHT * 100, 2), f"{level}")
            for level in range(low_dbm, high_dbm + 1, _GRID_DBM)
        ],
        ticks=ticks(timeline, frame),
        threshold=round(min(max(threshold, 0), 100), 2),
        blind=[
            frame.segment(w.from_ns, w.to_ns, "blind", f"blind for {w.length_s:.1f} s: {w.why}")
            for w in figures.blind
            if w.terminal == terminal
        ],
        decisions=decisions,
        asked=asked,
        truth=truth,
        unheard=[pair for pair in shown.items() if pair[0] not in {one.jack for one in series}],
    )


def _asked(figures: Figures, terminal: str, frame: Frame, jacks: Jacks) -> list[Segment]:
    """What was asked at this lane, and what came of it."""
    return [
        jacks.about(
            attempt.jack,
            frame.segment(
                attempt.asked_ns,
                attempt.ended_ns,
                _kind(attempt.outcome.value),
                f"{attempt.payment[-6:]}: {attempt.outcome.value}",
            ),
        )
        for attempt in (judged.attempt for judged in figures.judged)
        if attempt.terminal == terminal
    ]


def _truth(figures: Figures, terminal: str, frame: Frame, jacks: Jacks) -> list[Segment]:
    """Who was at this lane, by any of its names."""
    names = {terminal, figures.timeline.machine(terminal), terminal.rpartition("/")[2]}
    return [
        jacks.about(jack, frame.segment(p.from_ns, p.to_ns or frame.to_ns, "jack", jack))
        for p in figures.presences
        if p.jack and p.lane in names and (p.to_ns is None or p.to_ns > frame.from_ns)
        if p.from_ns <= frame.to_ns
        for jack in [jacks.marked(p.jack)]
    ]


def _kind(outcome: str) -> str:
    return {"paid": "good", "failed": "bad"}.get(outcome, "quiet")


def _series(heard: Iterable[Happening], frame: Frame, jacks: Jacks) -> list[Series]:
    groups: dict[str, list[Happening]] = {}
    for happening in heard:
        groups.setdefault(jacks.heard(happening.field("jack")), []).append(happening)
    ranked = sorted(groups, key=lambda jack: (jack.startswith("code "), -len(groups[jack])))
    for jack in ranked[_MOST_JACKS:]:
        groups.setdefault(_OTHERS, []).extend(groups.pop(jack))
    shown = [*ranked[:_MOST_JACKS], *([_OTHERS] if _OTHERS in groups else [])]
    return [
        Series(
            jack=jack,
            color=jacks.color(jack),
            samples=len(groups[jack]),
            dots=_dots(groups[jack], frame),
            line="" if jack == _OTHERS else _line(groups[jack], frame),
        )
        for jack in shown
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


_DECIDED: Final = {"chosen": "jack", "ambiguous": "amber", "none": "quiet"}


def _decisions(timeline: Timeline, terminal: str, frame: Frame, jacks: Jacks) -> list[Segment]:
    """From one noted answer of the lane to the next; equal neighbours are one."""
    noted = timeline.of_agent(terminal, frame.from_ns, frame.to_ns, ("lane_decision",))
    segments: list[Segment] = []
    begun: Happening | None = None
    for decision, after in zip(noted, [*noted[1:], None], strict=False):
        begun = begun or decision
        near = after is not None and after.at_ns - decision.at_ns <= _GAP_NS
        if after is not None and near and _told(after, jacks) == _told(decision, jacks):
            continue
        until_ns = min(after.at_ns if after else frame.to_ns, decision.at_ns + _GAP_NS)
        kind = _DECIDED.get(str(decision.field("outcome")), "quiet")
        segment = frame.segment(begun.at_ns, until_ns, kind, _told(decision, jacks))
        segments.append(jacks.about(_chosen(decision, jacks), segment))
        begun = None
    return segments


def _chosen(decision: Happening, jacks: Jacks) -> str:
    handle = decision.field("jack")
    return jacks.heard(handle) if handle and decision.field("outcome") == "chosen" else ""


def _told(decision: Happening, jacks: Jacks) -> str:
    reason = str(decision.field("reason") or "").replace("_", " ")
    return f"{decision.field('outcome')} {_chosen(decision, jacks) or reason}".strip()


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

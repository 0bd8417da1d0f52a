"""trial-report.html: a field trial on one page, with nothing loaded from anywhere.

No script and no external host (a Content-Security-Policy in the file holds it to that); dark,
light, printed, and on a phone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from fieldkit import waterfall
from fieldkit.legs import NAMES
from fieldkit.trials import lane_plot, trial_plots
from fieldkit.trials.alignment import Basis, Clock
from fieldkit.trials.attempts import Outcome
from fieldkit.trials.comparison import Comparison
from fieldkit.trials.figures import Figures, Judged
from fieldkit.trials.floors import FLOORS
from fieldkit.trials.incidents import Incident, Kind
from fieldkit.trials.lane_plot import Frame, Segment
from fieldkit.trials.lane_truth import AtLane, Decided
from fieldkit.trials.noted import NOISE, Line, lines
from fieldkit.trials.sequence import unsure
from fieldkit.trials.timeline import Timeline
from fieldkit.trials.uncertainty import told_within
from fieldkit.waterfall_view import MIDDLE, Leg, legs_shown, milliseconds, steps, words
from twochannel.protocol.money import format_minor

_TEMPLATES: Final = Path(__file__).parents[1] / "templates"
#: Of a payment itself, the one that was its own lane's.
_HEARD: Final = frozenset({"lane_heard"})
#: A drift that is known less well than this is not told.
_TOLD_DRIFT_PPM: Final = 50.0
#: Colours of the timeline, as far as they are on it.
_KEY: Final = {
    "good": ("good", "paid"),
    "amber": ("amber", "paid, slow; power or heat"),
    "bad": ("bad", "failed, or without radio"),
    "blind": ("bad", "failed, or without radio"),
    "kind-radio": ("bad", "failed, or without radio"),
    "kind-wifi": ("server", "jack not reached over Wi-Fi"),
    "quiet": ("quiet", "as its owner wished, or open"),
    "kind-restart": ("s3", "restart"),
    "kind-clock": ("phone", "clock wrong or set"),
    "kind-power": ("amber", "paid, slow; power or heat"),
    "kind-heat": ("amber", "paid, slow; power or heat"),
    "kind-mark": ("ink", "mark"),
    "kind-trial": ("ink", "mark"),
    "kind-fault": ("fault", "fault, as played"),
}
_KINDS: Final = {Outcome.PAID: "good", Outcome.FAILED: "bad"}


@dataclass(frozen=True, slots=True)
class About:
    """When the report was made, and by what, as text."""

    made_at: str
    version: str


@dataclass(frozen=True, slots=True)
class _Payment:
    """One attempt as the template shows it."""

    judged: Judged
    number: int
    at: str
    unsure: bool
    within: str
    amount: str
    drawing: waterfall.Waterfall | None
    lines: Sequence[Line]

    @property
    def anchor(self) -> str:
        return f"payment-{self.number}"

    @property
    def kind(self) -> str:
        return (
            "warn" if _paid_slowly(self.judged) else _KINDS.get(self.judged.attempt.outcome, "none")
        )

    @property
    def outcome(self) -> str:
        return "paid, slow" if _paid_slowly(self.judged) else self.judged.attempt.outcome.value

    @property
    def willed(self) -> bool:
        """Somebody wanted it to end as it did."""
        return self.judged.attempt.outcome in {Outcome.DECLINED, Outcome.CANCELED}

    @property
    def legs(self) -> list[Leg]:
        return legs_shown(self.judged.attempt.legs)

    @property
    def total(self) -> str:
        return milliseconds(self.judged.attempt.legs.total_ms)

    @property
    def title(self) -> str:
        """The cause of what went wrong, or that nothing did."""
        cause = self.judged.cause
        return cause.title if cause else self.outcome


@dataclass(frozen=True, slots=True)
class _IncidentRow:
    """``unsure``: it may have come before a row above it."""

    incident: Incident
    at: str
    within: str
    unsure: bool


@dataclass(frozen=True, slots=True)
class _ClockRow:
    clock: Clock
    offset: str
    drift: str
    within: str


@dataclass(frozen=True, slots=True)
class _Strip:
    """One row of the timeline."""

    name: str
    segments: Sequence[Segment]


def _paid_slowly(judged: Judged) -> bool:
    return judged.slow and judged.attempt.outcome is Outcome.PAID


def render(figures: Figures, about: About, comparison: Comparison | None = None) -> str:
    """The report as HTML."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
    )
    environment.filters |= {"percent": _percent, "ms": milliseconds, "words": words}
    timeline = figures.timeline
    payments = dict(_payments(figures))
    frame = Frame(figures.began_ns, figures.ended_ns)
    strips = _strips(figures, frame)
    return environment.get_template("trial.html.j2").render(
        figures=figures,
        about=about,
        comparison=comparison,
        headline=_headline(figures),
        lead=_lead(figures),
        began=timeline.date_text(figures.began_ns) if timeline.happenings else "nothing recorded",
        lasted=_lasted(figures.ended_ns - figures.began_ns),
        machines=sorted({clock.id.machine for clock in timeline.alignment.clocks}),
        payments=list(payments.values()),
        troubled=[payments[id(judged)] for judged in figures.troubled],
        lanes=lane_plot.lane_plots(figures),
        uncertainty=_uncertainty(figures),
        incidents=_incidents(figures),
        strips=strips,
        key=dict.fromkeys(_KEY[s.kind] for strip in strips for s in strip.segments),
        ticks=lane_plot.ticks(timeline, frame),
        clocks=[_clock_row(clock) for clock in timeline.alignment.clocks],
        latencies=trial_plots.latencies(figures) if figures.legs["total"].count else None,
        site_map=trial_plots.site_map(figures),
        floors=FLOORS,
        names=NAMES,
        truths=list(AtLane),
        decided=list(Decided),
        parties=waterfall.PARTIES,
        middle=MIDDLE,
        steps=steps,
        told=timeline.clock_text,
        told_within=told_within,
    )


def _headline(figures: Figures) -> str:
    asked, paid = figures.success.trials, figures.success.events
    if not asked:
        return "No payment was asked for"
    if paid == asked:
        return f"All {asked} payments succeeded" if asked > 1 else "The one payment succeeded"
    return f"{paid} of {asked} payments succeeded"


def _lead(figures: Figures) -> str:
    """What else a busy reader wants to know first."""
    if not figures.success.trials:
        return "The recording has no charge of any terminal."
    low, high = figures.success.interval
    parts = [
        f"That is {_percent(figures.success.share)}; from so many the true rate lies between "
        f"{_percent(low)} and {_percent(high)} (95 %)."
    ]
    unwanted = figures.success.trials - figures.wanted.trials
    if unwanted:
        parts.append(
            f"{unwanted} {'was' if unwanted == 1 else 'were'} declined by the owner or canceled: "
            f"of the rest {_percent(figures.wanted.share)} succeeded."
        )
    total = figures.legs["total"]
    if total.median is not None:
        parts.append(
            f"A successful one took {milliseconds(total.median)} at the median and "
            f"{milliseconds(total.p95)} at the 95th percentile."
        )
    return " ".join(parts)


def _payments(figures: Figures) -> Iterator[tuple[int, _Payment]]:
    """By the id of what was judged."""
    asked = [judged.attempt.question for judged in figures.judged]
    marks = unsure((h.agent, h.at_ns, h.within_ns) for h in asked)
    for number, (judged, mark) in enumerate(zip(figures.judged, marks, strict=True), 1):
        yield id(judged), _payment(number, judged, figures.timeline, unsure=mark)


def _payment(number: int, judged: Judged, timeline: Timeline, *, unsure: bool) -> _Payment:
    attempt = judged.attempt
    money = f"{format_minor(attempt.amount_minor, attempt.currency)} {attempt.currency}"
    return _Payment(
        judged=judged,
        number=number,
        at=timeline.clock_text(attempt.asked_ns),
        unsure=unsure,
        within=told_within(attempt.within_ms * 1e6),
        amount=money,
        drawing=waterfall.draw([h.event for h in attempt.own if h.name not in NOISE - _HEARD]),
        lines=lines(judged, timeline) if judged.cause else [],
    )


def _strips(figures: Figures, frame: Frame) -> list[_Strip]:
    """Payments, marks, faults, and each agent to which something happened."""
    asked = [
        frame.segment(
            j.attempt.asked_ns,
            j.attempt.ended_ns,
            "amber" if _paid_slowly(j) else _KINDS.get(j.attempt.outcome, "quiet"),
            f"{figures.timeline.clock_text(j.attempt.asked_ns)} {j.attempt.outcome.value}",
        )
        for j in figures.judged
    ]
    agents = figures.timeline.agents
    rows: dict[str, list[Segment]] = {"payments": asked, "marks": [], "faults played": []}
    rows |= {agent: [] for agent in agents}
    for found in figures.incidents:
        name = {Kind.MARK: "marks", Kind.TRIAL: "marks", Kind.FAULT: "faults played"}.get(
            found.kind, found.agent
        )
        to_ns = found.until_ns or found.at_ns
        text = f"{figures.timeline.clock_text(found.at_ns)} {found.text}"
        segment = frame.segment(found.at_ns, to_ns, f"kind-{found.kind.value}", text)
        rows.setdefault(name, []).append(segment)
    for window in figures.blind:
        text = f"blind for {window.length_s:.1f} s: {window.why}"
        segment = frame.segment(window.from_ns, window.to_ns, "blind", text)
        rows.setdefault(window.terminal, []).append(segment)
    return [_Strip(name, segments) for name, segments in rows.items() if segments]


def _incidents(figures: Figures) -> list[_IncidentRow]:
    told = figures.timeline.clock_text
    # Of what was played its player tells, whoever it befell.
    tellers = ("" if i.kind is Kind.FAULT else i.agent for i in figures.incidents)
    spans = ((i.at_ns, i.within_ns) for i in figures.incidents)
    marks = unsure((teller, *span) for teller, span in zip(tellers, spans, strict=True))
    return [
        _IncidentRow(found, told(found.at_ns), told_within(found.within_ns), mark)
        for found, mark in zip(figures.incidents, marks, strict=True)
    ]


def _uncertainty(figures: Figures) -> str:
    """The worst of the payments whose legs are counted; empty if all is one machine's."""
    paid = (j.attempt for j in figures.judged if j.attempt.outcome is Outcome.PAID)
    return told_within(max((attempt.within_ms for attempt in paid), default=0.0) * 1e6)


def _clock_row(clock: Clock) -> _ClockRow:
    drift = clock.drift_ppm
    told = drift is not None and drift[1] - drift[0] <= 2 * _TOLD_DRIFT_PPM
    range_ppm = f"{drift[0]:.0f} to {drift[1]:.0f} ppm" if told and drift else "—"
    if clock.basis is Basis.REFERENCE:
        return _ClockRow(clock, "0", "0", "exact")
    best, worst = told_within(clock.best_ns), told_within(clock.worst_ns)
    within = best if best == worst else f"{best} to {worst}"
    return _ClockRow(clock, f"{clock.offset_ns / 1e9:+.3f} s", range_ppm, within)


def _lasted(ns: int) -> str:
    minutes, seconds = divmod(round(ns / 1e9), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _percent(share: Any) -> str:
    return f"{share * 100:.1f}\N{NO-BREAK SPACE}%"

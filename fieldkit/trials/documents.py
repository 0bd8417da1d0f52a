"""A trial for programs: the JSON document and the CSV tables of ``fieldkit report``. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from fieldkit.legs import NAMES
from fieldkit.trials.alignment import Clock
from fieldkit.trials.blindness import Blindness
from fieldkit.trials.figures import Figures, Judged, Share
from fieldkit.trials.floors import FLOORS
from fieldkit.trials.incidents import Incident
from fieldkit.trials.timeline import Happening, Timeline

#: 2: incidents have their uncertainty.
FORMAT: Final = 2
Row = Sequence[object]


def document(figures: Figures) -> dict[str, Any]:
    """All figures. Times are nanoseconds on the timeline: the server's monotonic clock."""
    timeline = figures.timeline
    return {
        "format": FORMAT,
        "trial": figures.name,
        "began_ns": figures.began_ns,
        "ended_ns": figures.ended_ns,
        "slow_ms": figures.slow_ms,
        "success": _share(figures.success),
        "success_where_wanted": _share(figures.wanted),
        "causes": dict(figures.causes.most_common()),
        "legs_ms": {leg: asdict(summary) for leg, summary in figures.legs.items()},
        "floors_ms": {leg: floor.least_ms for leg, floor in FLOORS.items()},
        "confusion": [
            {"truth": truth.value, "decided": decided.value, "count": count}
            for (truth, decided), count in sorted(figures.matrix.items())
        ],
        "payments": [_payment(judged) for judged in figures.judged],
        "blind_windows": [_lasting(window) for window in figures.blind],
        "incidents": [_lasting(incident) for incident in figures.incidents],
        "clocks": [_clock(clock) for clock in timeline.alignment.clocks],
        "clock_truths": [
            {"machine": t.clock.machine, "boot": t.clock.boot, "inside": t.inside, "ms": t.worst_ms}
            for t in figures.clock_truths
        ],
        "statements": list(timeline.alignment.statements),
    }


def _share(share: Share) -> dict[str, Any]:
    low, high = share.interval
    return {
        "count": share.events,
        "of": share.trials,
        "share": share.share,
        "low": low,
        "high": high,
    }


def _payment(judged: Judged) -> dict[str, Any]:
    attempt, cause = judged.attempt, judged.cause
    return {
        "payment": attempt.payment,
        "terminal": attempt.terminal,
        "jack": attempt.jack or None,
        "phone": attempt.phone or None,
        "asked_ns": attempt.asked_ns,
        "amount_minor": attempt.amount_minor,
        "currency": attempt.currency,
        "outcome": attempt.outcome.value,
        "status": attempt.status,
        "slow": judged.slow,
        "cause": cause.name if cause else None,
        "cause_text": cause.text if cause else None,
        "evidence": [_line(h) for h in cause.finding.evidence] if cause else [],
        "legs_ms": attempt.legs.legs_ms,
        "owner_ms": attempt.thought_ms,
        "within_ms": _finite(attempt.within_ms),
    }


def _line(happening: Happening) -> dict[str, Any]:
    return {
        "at_ns": happening.at_ns,
        "within_ns": _finite(happening.within_ns),
        "agent": happening.agent,
        "event": happening.name,
        "fields": dict(happening.event.fields),
    }


def _lasting(found: Incident | Blindness) -> dict[str, Any]:
    return asdict(found) | {"within_ns": _finite(found.within_ns)}


def _clock(clock: Clock) -> dict[str, Any]:
    return {
        "machine": clock.id.machine,
        "boot": clock.id.boot,
        "agents": list(clock.agents),
        "basis": clock.basis.value,
        "events": clock.events,
        "offset_ns": clock.offset_ns,
        "drift_ppm": clock.drift_ppm,
        "within_ns": [_finite(clock.best_ns), _finite(clock.worst_ns)],
    }


def _finite(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None


def tables(figures: Figures) -> dict[str, Iterator[Row]]:
    """File name -> rows, the first of them the heads."""
    return {
        "payments.csv": _payment_rows(figures),
        "clocks.csv": _clock_rows(figures),
        "incidents.csv": _incident_rows(figures),
        "levels.csv": _level_rows(figures.timeline),
        "events.csv": _event_rows(figures.timeline),
    }


def _payment_rows(figures: Figures) -> Iterator[Row]:
    legs = tuple(f"{leg}_ms" for leg in NAMES)
    head = ("payment", "terminal", "jack", "phone", "asked_ns", "time_of_day", "amount_minor")
    tail = ("currency", "outcome", "status", "slow", "cause", "cause_text", "owner_ms", "within_ms")
    yield (*head, *tail, *legs)
    for judged in figures.judged:
        a, cause = judged.attempt, judged.cause
        yield (
            *(a.payment, a.terminal, a.jack, a.phone, a.asked_ns),
            *(figures.timeline.clock_text(a.asked_ns), a.amount_minor, a.currency),
            *(a.outcome.value, a.status, int(judged.slow)),
            *(cause.name if cause else "", cause.text if cause else ""),
            *(a.thought_ms, _finite(a.within_ms)),
            *(a.legs.legs_ms[leg] for leg in NAMES),
        )


def _clock_rows(figures: Figures) -> Iterator[Row]:
    yield (
        "machine",
        "boot",
        "basis",
        "events",
        "offset_ns",
        "least_ppm",
        "most_ppm",
        "best_ns",
        "worst_ns",
    )
    for clock in figures.timeline.alignment.clocks:
        drift = clock.drift_ppm or (None, None)
        widths = _finite(clock.best_ns), _finite(clock.worst_ns)
        yield (*clock.id, clock.basis.value, clock.events, clock.offset_ns, *drift, *widths)


def _incident_rows(figures: Figures) -> Iterator[Row]:
    yield "at_ns", "until_ns", "within_ns", "time_of_day", "agent", "kind", "text"
    for found in figures.incidents:
        at, within_ns = figures.timeline.clock_text(found.at_ns), _finite(found.within_ns)
        told = at, found.agent, found.kind.value, found.text
        yield found.at_ns, found.until_ns, within_ns, *told


def _level_rows(timeline: Timeline) -> Iterator[Row]:
    yield "at_ns", "within_ns", "terminal", "handle", "rssi_dbm"
    for h in timeline.named("code_heard"):
        yield h.at_ns, _finite(h.within_ns), h.agent, h.field("jack"), h.field("rssi_dbm")


def _event_rows(timeline: Timeline) -> Iterator[Row]:
    """Everything but the levels, which have a table of their own."""
    yield (
        "at_ns",
        "within_ns",
        "time_of_day",
        "machine",
        "boot",
        "agent",
        "event",
        "payment",
        "fields",
    )
    for h in timeline.happenings:
        if h.name != "code_heard":
            fields = "; ".join(f"{name}={value}" for name, value in h.event.fields.items())
            at, payment = timeline.clock_text(h.at_ns), h.event.payment or ""
            yield h.at_ns, _finite(h.within_ns), at, *h.clock, h.agent, h.name, payment, fields

"""What else happened in a trial: radios, Wi-Fi, restarts, clocks, power, heat, marks. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final

from fieldkit.trials.alignment import Step
from fieldkit.trials.bounds import ClockId
from fieldkit.trials.clock_truth import TRUE_WITHIN_NS, true_clock
from fieldkit.trials.endings import told_end
from fieldkit.trials.timeline import Happening, Timeline
from fieldkit.trials.wifi_outages import wifi_outages

#: How far the wall clocks of two machines that know the time are apart at most, with a margin.
_WRONG_MS: Final = 2_000


class Kind(StrEnum):
    RADIO = "radio"
    WIFI = "wifi"
    RESTART = "restart"
    CLOCK = "clock"
    POWER = "power"
    HEAT = "heat"
    MARK = "mark"
    TRIAL = "trial"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Incident:
    """``until_ns``: when it was over; None for what has no length, or did not end.

    ``within_ns``: the uncertainty of both, infinite if it is not known.
    """

    at_ns: int
    until_ns: int | None
    within_ns: float
    agent: str
    kind: Kind
    text: str


def incidents(timeline: Timeline, truth: Mapping[str, Any] | None = None) -> list[Incident]:
    """All of them, oldest first. ``truth``: what the player of a virtual trial says it did."""
    found = [*_lost_radios(timeline), *_restarts(timeline)]
    found += [*_wrong_clocks(timeline), *_steps(timeline)]
    found += [*_lost_wifi(timeline), *_played(timeline, truth)]
    for name, (kind, text) in _TOLD.items():
        for h in timeline.named(name):
            if name == "trial_marked" and h.field("truth") and not h.field("text"):
                continue  # of a lane: it is drawn there
            found.append(Incident(h.at_ns, None, h.within_ns, h.agent, kind, text(h)))
    return sorted(found, key=lambda incident: incident.at_ns)


def _played(timeline: Timeline, truth: Mapping[str, Any] | None) -> list[Incident]:
    """The faults of a virtual trial, whose true time is told for the server's clock."""
    at_ns = true_clock(timeline.alignment, truth)
    if at_ns is None or truth is None:
        return []
    return [
        Incident(
            at_ns(fault["from_true_us"]),
            at_ns(fault["to_true_us"]),
            TRUE_WITHIN_NS,
            str(fault["machine"]),
            Kind.FAULT,
            f"{str(fault['name']).replace('_', ' ')}, as played",
        )
        for fault in truth.get("faults", ())
    ]


def _lost_radios(timeline: Timeline) -> list[Incident]:
    found = []
    for agent in timeline.agents:
        noted = timeline.of_agent(
            agent, timeline.began_ns, timeline.ended_ns, ("radio_lost", "radio_recovered")
        )
        for lost, after in zip(noted, [*noted[1:], None], strict=False):
            if lost.name == "radio_lost":
                back = after if after is not None and after.name == "radio_recovered" else None
                found.append(_lost_radio(lost, back))
    return found


def _lost_radio(lost: Happening, back: Happening | None) -> Incident:
    text = f"radio lost ({lost.field('reason') or 'no reason noted'})"
    if back is None:
        return _from(lost, None, Kind.RADIO, f"{text}; not recovered")
    blind_ms = back.field("blind_ms")
    blind_s = ((back.at_ns - lost.at_ns) / 1e9) if blind_ms is None else float(blind_ms) / 1000
    text += f"; recovered by {str(back.field('rung')).replace('_', ' ')} after {blind_s:.1f} s"
    return _from(lost, back, Kind.RADIO, text)


def _from(begun: Happening, over: Happening | None, kind: Kind, text: str) -> Incident:
    """What lasted from one event of an agent to another."""
    until_ns = None if over is None else over.at_ns
    within_ns = max(h.within_ns for h in (begun, over) if h is not None)
    return Incident(begun.at_ns, until_ns, within_ns, begun.agent, kind, text)


def _lost_wifi(timeline: Timeline) -> list[Incident]:
    return [
        _from(outage.lost, outage.back, Kind.WIFI, outage.text) for outage in wifi_outages(timeline)
    ]


def _restarts(timeline: Timeline) -> list[Incident]:
    """Every start of an agent but the first."""
    found = []
    for agent in timeline.agents:
        own = timeline.of_agent(agent, timeline.began_ns, timeline.ended_ns)
        for before, started in pairwise(own):
            if started.name == "agent_started":
                found.append(_restart(before, started))
    return found


def _restart(before: Happening, started: Happening) -> Incident:
    same = before.event.boot == started.event.boot
    how = "was stopped" if before.name == "agent_stopped" else "ended in no order"
    what = f"agent {how} and started again" if same else f"machine {told_end(before)}"
    gone_s = (started.at_ns - before.at_ns) / 1e9
    text = f"{what}; {gone_s:.1f} s since its last word"
    return _from(before, started, Kind.RESTART, text)


def _wrong_clocks(timeline: Timeline) -> Iterator[Incident]:
    """Wall clocks that were wrong when their machine booted, until they were set or to the end."""
    spans: dict[ClockId, list[Happening]] = {}
    for happening in timeline.happenings:
        spans.setdefault(happening.clock, [happening, happening])[1] = happening
    alignment = timeline.alignment
    for clock, (first, last) in spans.items():
        off_ms = first.event.wall_ms - (first.at_ns + alignment.wall_ahead_ns) / 1e6
        if abs(off_ms) > _WRONG_MS + first.within_ns / 1e6:
            set_ns = [
                alignment.at_ns(clock, s.mono_ns) for s in alignment.steps if s.clock == clock
            ]
            side = "ahead of" if off_ms > 0 else "behind"
            text = f"wall clock {_span(abs(off_ms))} {side} the server's"
            until_ns = min([last.at_ns, *set_ns])
            within_ns = max(first.within_ns, last.within_ns)
            yield Incident(first.at_ns, until_ns, within_ns, first.agent, Kind.CLOCK, text)


def _steps(timeline: Timeline) -> list[Incident]:
    """Where a wall clock was set; a jack that learns the time is told as that."""
    return [
        Incident(at_ns, None, within_ns, step.agent, Kind.CLOCK, _step_text(step))
        for step in timeline.alignment.steps
        for at_ns, within_ns in [timeline.alignment.placed(step.clock, step.mono_ns)]
    ]


def _step_text(step: Step) -> str:
    before, after = step.trust
    by = f"wall clock set {'forward' if step.by_ms > 0 else 'back'} by {_span(abs(step.by_ms))}"
    return by if before == after else f"{by}: it went from {before} to {after}"


def _span(ms: float) -> str:
    for unit, length_ms in (("years", 31_557_600_000), ("days", 86_400_000), ("h", 3_600_000)):
        if ms >= 2 * length_ms:
            return f"{ms / length_ms:.1f} {unit}"
    return f"{ms / 1000:.3f} s" if ms < 100_000 else f"{ms / 60_000:.1f} min"


def _under_voltage(h: Happening) -> str:
    return "under-voltage" if h.field("under_voltage") else "voltage is right again"


def _heat(h: Happening) -> str:
    throttled = ", throttled" if h.field("throttled") else ""
    return f"{h.field('celsius')} °C{throttled}"


#: Kind and text of what is told as it was noted.
_TOLD: Final[dict[str, tuple[Kind, Callable[[Happening], str]]]] = {
    "power": (Kind.POWER, _under_voltage),
    "temperature": (Kind.HEAT, _heat),
    "trial_started": (Kind.TRIAL, lambda h: f"trial {h.field('trial')} started"),
    "trial_stopped": (Kind.TRIAL, lambda h: f"trial {h.field('trial')} stopped"),
    "trial_marked": (Kind.MARK, lambda h: str(h.field("text") or "marked")),
}

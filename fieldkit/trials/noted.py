"""What the parties noted around a payment, as the lines that the report shows. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fieldkit.trials.figures import Judged
from fieldkit.trials.sequence import Listed, in_order
from fieldkit.trials.timeline import Timeline
from fieldkit.trials.uncertainty import told_within
from fieldkit.waterfall_view import words

#: Noted often, and drawn elsewhere; lanes that a jack hears are mostly those of others.
NOISE: Final = frozenset({"code_heard", "lane_decision", "lane_heard", "health", "position"})
#: What is shown around a payment of what its parties noted beside it.
_BEFORE_NS: Final = 2_000_000_000
_AFTER_NS: Final = 1_000_000_000
_MOST_LINES: Final = 80
#: Characters of a field.
_BRIEF: Final = 32


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a trace. ``shows``: it is evidence of the cause; ``own``: of the payment.

    ``unsure``: it may have come before a line above it.
    """

    at: str
    within: str
    unsure: bool
    party: str
    agent: str
    text: str
    detail: str
    shows: bool
    own: bool


def lines(judged: Judged, timeline: Timeline) -> list[Line]:
    """What the parties noted around the payment, and whatever else is evidence."""
    attempt = judged.attempt
    evidence = judged.cause.finding.evidence if judged.cause else ()
    agents = {attempt.terminal, attempt.jack, attempt.phone} | {h.agent for h in attempt.own}
    around = [
        happening
        for agent in sorted(agents - {""})
        for happening in timeline.of_agent(
            agent, attempt.asked_ns - _BEFORE_NS, attempt.ended_ns + _AFTER_NS
        )
        if happening.name not in NOISE and happening.event.payment in {None, attempt.payment}
    ]
    shown = {id(h): h for h in (*evidence, *attempt.own, *around)}
    kept = list(shown.values())[:_MOST_LINES]
    marked = {id(h) for h in evidence}
    return [
        _line(listed, attempt.asked_ns, shows=id(listed.happening) in marked)
        for listed in in_order(kept, timeline)
    ]


def _line(listed: Listed, from_ns: int, *, shows: bool) -> Line:
    happening = listed.happening
    fields = happening.event.fields.items()
    return Line(
        at=f"{(happening.at_ns - from_ns) / 1e9:+.3f} s",
        within=told_within(happening.within_ns),
        unsure=listed.unsure,
        party=happening.party,
        agent=happening.agent,
        text=words(happening.name),
        detail=", ".join(f"{k}={_brief(v)}" for k, v in fields if v not in ("", None)),
        shows=shows,
        own=happening.event.payment is not None,
    )


def _brief(value: object) -> str:
    """Ids of devices are long, and told apart by their beginning."""
    text = str(value)
    return text if len(text) <= _BRIEF else f"{text[: _BRIEF // 2]}…"

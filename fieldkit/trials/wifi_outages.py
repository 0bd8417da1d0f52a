"""When a phone's jack did not answer over Wi-Fi, and whether it was up meanwhile. Pure.

Nobody notes that a Wi-Fi carries nothing. A phone notes that its jack does not answer; it was the
Wi-Fi if the jack itself went on noting things.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from fieldkit.trials.timeline import Happening, Timeline

_NOTED: Final = ("jack_lost", "jack_found", "agent_started", "agent_stopped")
_RESTARTS: Final = ("agent_started", "agent_stopped")


@dataclass(frozen=True, slots=True)
class Outage:
    """``back``: when the jack answered again; None if the phone ended or never noted it."""

    lost: Happening
    back: Happening | None
    text: str


def wifi_outages(timeline: Timeline) -> Iterator[Outage]:
    """Of every phone, in the order in which it noted them."""
    for phone, party in timeline.agents.items():
        if party != "phone":
            continue
        noted = timeline.of_agent(phone, timeline.began_ns, timeline.ended_ns, _NOTED)
        for place, lost in enumerate(noted):
            if lost.name == "jack_lost":
                after = next((h for h in noted[place + 1 :] if _ends(lost, h)), None)
                back = after if after is not None and after.name == "jack_found" else None
                yield Outage(lost, back, _text(timeline, phone, lost, back))


def _ends(lost: Happening, after: Happening) -> bool:
    """A phone may have several jacks."""
    return after.name in _RESTARTS or after.field("jack") == lost.field("jack")


def _text(timeline: Timeline, phone: str, lost: Happening, back: Happening | None) -> str:
    until_ns = timeline.ended_ns if back is None else back.at_ns
    text = "the jack did not answer over Wi-Fi"
    jack = _only_jack(timeline, phone)
    noted = [
        h
        for h in timeline.of_agent(jack, lost.at_ns, until_ns)
        if h.clock == lost.clock or _inside(h, lost.at_ns, until_ns, lost.within_ns)
    ]
    if any(h.name in _RESTARTS for h in noted):
        text += ", and was stopped or started meanwhile"
    elif noted:
        text += ", though it was up"
    if back is None:
        return f"{text}; not found again"
    return f"{text}; found again after {(back.at_ns - lost.at_ns) / 1e9:.1f} s"


def _inside(noted: Happening, from_ns: int, to_ns: int, doubt_ns: float) -> bool:
    """Whether it was noted then for sure."""
    doubt_ns += noted.within_ns
    return from_ns + doubt_ns <= noted.at_ns <= to_ns - doubt_ns


def _only_jack(timeline: Timeline, phone: str) -> str:
    """Whom the phone asks for auth codes; empty if that is not one agent."""
    own = [ns for ns in timeline.payments.values() if any(h.agent == phone for h in ns)]
    jacks = {h.agent for payment in own for h in payment if h.party == "jack"}
    return jacks.pop() if len(jacks) == 1 else ""

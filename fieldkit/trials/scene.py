"""One attempt with everything around it that may be its cause. Pure.

What happened beside it counts only where the bounds of its time leave no doubt: a start that was
perhaps at the payment and perhaps an hour later is no cause.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from fieldkit.trials.alignment import Relation
from fieldkit.trials.attempts import Attempt, Outcome
from fieldkit.trials.timeline import Happening, Timeline

NS_PER_S: Final = 1_000_000_000
#: What happened so long before the question may still be its cause.
BEFORE_NS: Final = 10 * NS_PER_S
#: A challenge lives so long at most; what nobody answered until then is over.
OPEN_NS: Final = 120 * NS_PER_S


@dataclass(frozen=True, slots=True)
class Restart:
    """An agent began anew. ``machine_too``: under another boot, so its machine did."""

    last: Happening
    first: Happening
    machine_too: bool


@dataclass(frozen=True, slots=True)
class Scene:
    """``attempt`` on its ``timeline``."""

    attempt: Attempt
    timeline: Timeline

    @property
    def from_ns(self) -> int:
        return self.attempt.asked_ns - BEFORE_NS

    @property
    def to_ns(self) -> int:
        """When it was over; one that never was may have been disturbed for as long as it lived."""
        ended_ns = self.attempt.ended_ns
        return max(ended_ns, self.attempt.asked_ns + OPEN_NS) if self.unfinished else ended_ns

    @property
    def unfinished(self) -> bool:
        """No outcome reached the terminal."""
        return not any(h.name in {"payment_settled", "jack_not_chosen"} for h in self.attempt.own)

    @property
    def failed(self) -> bool:
        return self.attempt.legs.total_ms is None or self.attempt.outcome is not Outcome.PAID

    def has(self, party: str, name: str, **fields: object) -> Happening | None:
        """The first event of the payment that says so."""
        for happening in self.attempt.own:
            if (happening.party, happening.name) == (party, name) and all(
                happening.field(key) == value for key, value in fields.items()
            ):
                return happening
        return None

    def agent(self, party: str) -> str:
        """The agent that stands for a party in this payment; empty if it is not known."""
        known = {
            "terminal": self.attempt.terminal,
            "jack": self.attempt.jack,
            "phone": self.attempt.phone,
        }
        if known.get(party):
            return known[party]
        agents = [a for a, own_party in self.timeline.agents.items() if own_party == party]
        return agents[0] if len(agents) == 1 else ""

    def latest(self, party: str, at_ns: float, names: Collection[str]) -> Happening | None:
        """The last event of ``names`` of the party's agent until then; None if that is not sure."""
        told = self._told(party, names)
        before = [h for h in told if self._surely(h, -math.inf, at_ns)]
        if not before or any(self._between(before[-1], h, at_ns) for h in told):
            return None
        return before[-1]

    def lacking(self, party: str, lost: str, found: str) -> Happening | None:
        """The loss that the party had not got over when the payment began, or met while it ran."""
        asked_ns, told = self.attempt.asked_ns, self._told(party, (lost, found))
        losses = [
            h
            for h in told
            if h.name == lost and self._surely(h, -math.inf, self.to_ns)
            if not any(o.name == found and self._between(h, o, asked_ns) for o in told)
        ]
        before = [h for h in losses if h.at_ns <= asked_ns]
        return before[-1] if before else next(iter(losses), None)

    def noted(self, party: str, names: Collection[str]) -> list[Happening]:
        """What the party's agent noted while the payment ran, for sure."""
        asked_ns = self.attempt.asked_ns
        return [h for h in self._told(party, names) if self._surely(h, asked_ns, self.to_ns)]

    def restart(self, party: str) -> Restart | None:
        """Its agent's restart shortly before or during the payment, for sure."""
        return self._restart(party, self.from_ns, self.to_ns)

    def restart_between(self, party: str) -> Restart | None:
        """Its agent's restart after the question and before the outcome, for sure."""
        return self._restart(party, self.attempt.asked_ns + 1, self.to_ns)

    def late_restart(self, party: str) -> Restart | None:
        """Its agent's restart surely after the payment, before whose end it had noted its last."""
        found = self._restart(party, self.to_ns, math.inf)
        return found if found is not None and found.last.at_ns <= self.to_ns else None

    def _restart(self, party: str, from_ns: float, to_ns: float) -> Restart | None:
        for first in self._told(party, ("agent_started",)):
            if self._surely(first, from_ns, to_ns):
                began_ns = self.timeline.began_ns
                earlier = self.timeline.of_agent(first.agent, began_ns, first.at_ns - 1)
                if earlier:
                    machine_too = earlier[-1].event.boot != first.event.boot
                    return Restart(earlier[-1], first, machine_too)
        return None

    def unplaced_start(self, party: str) -> Happening | None:
        """Its agent's start, of several, that may have been then or not: nobody can tell."""
        started = self._told(party, ("agent_started",))
        for first in started if len(started) > 1 else ():
            early_ns, late_ns = self._span(first)
            overlaps = early_ns <= self.to_ns and late_ns >= self.from_ns
            if overlaps and not self._surely(first, self.from_ns, self.to_ns):
                return first
        return None

    def _told(self, party: str, names: Collection[str]) -> list[Happening]:
        agent, timeline = self.agent(party), self.timeline
        return timeline.of_agent(agent, timeline.began_ns, timeline.ended_ns, names)

    def _surely(self, happening: Happening, from_ns: float, to_ns: float) -> bool:
        """Whether it was then, wherever in its bounds it was."""
        early_ns, late_ns = self._span(happening)
        return from_ns <= early_ns and late_ns <= to_ns

    def _between(self, begun: Happening, other: Happening, until_ns: float) -> bool:
        """Whether ``other`` may have been after ``begun`` and before then."""
        if other is begun or self._span(other)[0] > until_ns:
            return False
        if other.clock == begun.clock:
            return other.at_ns > begun.at_ns
        return self.timeline.order(other, begun) is not Relation.BEFORE

    def _span(self, happening: Happening) -> tuple[float, float]:
        """From when to when it may have been, by a till whose own time is in doubt too."""
        asked = self.attempt.question
        if happening.clock == asked.clock:
            return happening.at_ns, happening.at_ns
        found = self.timeline.interval(happening)
        return found.earliest_ns - asked.within_ns, found.latest_ns + asked.within_ns

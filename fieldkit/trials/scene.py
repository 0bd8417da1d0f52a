"""One attempt with everything around it that may be its cause. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

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

    def latest(self, party: str, at_ns: int, names: Collection[str]) -> Happening | None:
        """The last event of ``names`` of the party's agent until then."""
        agent = self.agent(party)
        return self.timeline.latest(agent, at_ns, names) if agent else None

    def lacking(self, party: str, lost: str, found: str) -> Happening | None:
        """The loss that the party had not got over when the payment began, or met while it ran."""
        before = self.latest(party, self.attempt.asked_ns, (lost, found))
        if before is not None and before.name == lost:
            return before
        during = self.noted(party, (lost,))
        return during[0] if during else None

    def noted(self, party: str, names: Collection[str]) -> list[Happening]:
        """What the party's agent noted while the payment ran."""
        agent = self.agent(party)
        if not agent:
            return []
        return self.timeline.of_agent(agent, self.attempt.asked_ns, self.to_ns, names)

    def restart(self, party: str) -> Restart | None:
        """Its agent's restart shortly before or during the payment."""
        return self._restart(party, self.from_ns, self.to_ns)

    def restart_between(self, party: str) -> Restart | None:
        """Its agent's restart after the question and before the outcome."""
        return self._restart(party, self.attempt.asked_ns + 1, self.to_ns)

    def late_restart(self, party: str) -> Restart | None:
        """Its agent's restart after the payment, before whose end it had noted its last."""
        found = self._restart(party, self.to_ns, self.timeline.ended_ns)
        return found if found is not None and found.last.at_ns <= self.to_ns else None

    def _restart(self, party: str, from_ns: int, to_ns: int) -> Restart | None:
        agent = self.agent(party)
        if not agent:
            return None
        for first in self.timeline.of_agent(agent, from_ns, to_ns, ("agent_started",)):
            before = self.timeline.of_agent(agent, self.timeline.began_ns, first.at_ns - 1)
            if before:
                last = before[-1]
                machine_too = last.event.boot != first.event.boot
                return Restart(last, first, machine_too)
        return None

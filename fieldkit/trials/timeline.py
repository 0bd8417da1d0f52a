"""Everything that a trial's agents noted, in the order in which it happened. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from fieldkit.trace import TraceEvent
from fieldkit.trials.alignment import Alignment, Relation, Trial, align
from fieldkit.trials.bounds import ClockId, Interval
from fieldkit.trials.exchanges import clock_of


@dataclass(frozen=True, slots=True)
class Happening:
    """An event on the timeline: ``at_ns``, give or take ``within_ns`` (infinite if not known).

    ``event`` is as it was written, but for its ``mono_ns``, which is ``at_ns``: so what is made for
    one machine's events takes those of several. ``read_ns``: what its clock showed. ``agent``:
    machine and agent, which name it.
    """

    at_ns: int
    within_ns: float
    clock: ClockId
    read_ns: int
    agent: str
    event: TraceEvent

    @property
    def name(self) -> str:
        return self.event.event

    @property
    def party(self) -> str:
        return self.event.party

    def field(self, name: str) -> Any:
        return self.event.fields.get(name)


class Timeline:
    """``happenings``: all of them, sorted."""

    def __init__(self, happenings: Sequence[Happening], alignment: Alignment) -> None:
        self.alignment = alignment
        self.happenings = tuple(sorted(happenings, key=lambda happening: happening.at_ns))
        self._by_agent: dict[str, list[Happening]] = {}
        self._by_payment: dict[str, list[Happening]] = {}
        self._by_name: dict[str, list[Happening]] = {}
        for happening in self.happenings:
            self._by_agent.setdefault(happening.agent, []).append(happening)
            self._by_name.setdefault(happening.name, []).append(happening)
            if happening.event.payment is not None:
                self._by_payment.setdefault(happening.event.payment, []).append(happening)

    @property
    def agents(self) -> dict[str, str]:
        """Agent -> party, in a fixed order."""
        return {agent: events[0].party for agent, events in sorted(self._by_agent.items())}

    def machine(self, agent: str) -> str:
        """Where an agent ran; empty for one that is not there."""
        own = self._by_agent.get(agent)
        return own[0].clock.machine if own else ""

    @property
    def payments(self) -> dict[str, list[Happening]]:
        """Payment id -> its events."""
        return self._by_payment

    @property
    def began_ns(self) -> int:
        return self.happenings[0].at_ns if self.happenings else 0

    @property
    def ended_ns(self) -> int:
        return self.happenings[-1].at_ns if self.happenings else 0

    def named(self, *names: str) -> list[Happening]:
        """All events of these names, sorted."""
        found = [happening for name in names for happening in self._by_name.get(name, ())]
        return sorted(found, key=lambda happening: happening.at_ns)

    def of_agent(
        self, agent: str, from_ns: int, to_ns: int, names: Collection[str] = ()
    ) -> list[Happening]:
        """What an agent noted from then to then; only events of ``names``, if any are given."""
        own = self._by_agent.get(agent, [])
        first = bisect_left(own, from_ns, key=lambda happening: happening.at_ns)
        last = bisect_right(own, to_ns, key=lambda happening: happening.at_ns)
        return [h for h in own[first:last] if not names or h.name in names]

    def latest(self, agent: str, at_ns: int, names: Collection[str]) -> Happening | None:
        """The last event of ``names`` that an agent noted until then."""
        own = self._by_agent.get(agent, [])
        place = bisect_right(own, at_ns, key=lambda happening: happening.at_ns)
        return next((h for h in reversed(own[:place]) if h.name in names), None)

    def order(self, one: Happening, other: Happening) -> Relation:
        """Which of two came first, as finely as is known."""
        return self.alignment.order((one.clock, one.read_ns), (other.clock, other.read_ns))

    def interval(self, happening: Happening) -> Interval:
        """Between what times it was; open to a side of which nothing is known."""
        return self.alignment.interval(happening.clock, happening.read_ns)

    def clock_text(self, at_ns: int) -> str:
        """The time of day, UTC, by the server's wall clock as it stood most of the time."""
        moment = self._moment(at_ns)
        return f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}"

    def date_text(self, at_ns: int) -> str:
        moment = self._moment(at_ns)
        return f"{moment.day} {moment:%B %Y, %H:%M} UTC"

    def _moment(self, at_ns: int) -> datetime:
        # Not fromtimestamp: a wall clock may say years that no C library takes.
        since = timedelta(microseconds=(at_ns + self.alignment.wall_ahead_ns) // 1000)
        return datetime(1970, 1, 1, tzinfo=UTC) + since


def lay_out(trial: Trial) -> Timeline:
    """The timeline of a trial."""
    alignment = align(trial)
    names = [record.agent for record in trial.agents]
    happenings = []
    for record in trial.agents:
        # Two cars may both have an agent "jack".
        unique = names.count(record.agent) == 1
        agent = record.agent if unique else f"{record.machine}/{record.agent}"
        for event in record.events:
            clock = clock_of(record, event)
            at_ns, within_ns = alignment.placed(clock, event.mono_ns)
            placed = replace(event, mono_ns=at_ns)
            happenings.append(Happening(at_ns, within_ns, clock, event.mono_ns, agent, placed))
    return Timeline(happenings, alignment)

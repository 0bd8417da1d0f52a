"""From when to when a trial ran, as people told the agents. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fieldkit.trials.timeline import Timeline


@dataclass(frozen=True, slots=True)
class Period:
    """None: no end on that side, for nobody noted one."""

    from_ns: int | None
    to_ns: int | None

    def holds(self, at_ns: int) -> bool:
        """Whether that moment is part of it."""
        return self.overlaps(at_ns, at_ns)

    def overlaps(self, from_ns: int, to_ns: int) -> bool:
        """Whether any of that time is part of it."""
        early_enough = self.to_ns is None or from_ns <= self.to_ns
        return early_enough and (self.from_ns is None or to_ns >= self.from_ns)


def period(timeline: Timeline, trial: str) -> Period:
    """From the first start that any agent was told to the last stop, if no start came after it.

    A trial that nobody named is everything that there is.
    """
    started = [h.at_ns for h in timeline.named("trial_started") if h.field("trial") == trial]
    stopped = [h.at_ns for h in timeline.named("trial_stopped") if h.field("trial") == trial]
    return Period(min(started, default=None), last_stop(started, stopped))


def last_stop(started: Sequence[int], stopped: Sequence[int]) -> int | None:
    """When it was over; None if it goes on."""
    last = max(stopped, default=None)
    return None if last is None or any(at > last for at in started) else last

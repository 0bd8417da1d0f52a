"""What a trial comes to: success, causes, legs, lanes, and what happened beside. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fieldkit.bench.quantiles import Summary, summary
from fieldkit.legs import NAMES
from fieldkit.shares import wilson
from fieldkit.trials.attempts import Attempt, Outcome, attempts
from fieldkit.trials.blindness import Blindness, blind_windows
from fieldkit.trials.causes import Cause, cause
from fieldkit.trials.clock_truth import ClockTruth, clock_truths
from fieldkit.trials.incidents import Incident, incidents
from fieldkit.trials.lane_truth import AtLane, Decided, Presence, confusion, presences
from fieldkit.trials.period import Period, period
from fieldkit.trials.scene import Scene
from fieldkit.trials.timeline import Timeline

#: A customer begins to wonder; an automatic payment over Wi-Fi takes a fraction of it.
USUAL_SLOW_MS: Final = 3_000.0

#: What is looked at first.
_RANKS: Final = {Outcome.PAID: 1, Outcome.DECLINED: 2, Outcome.CANCELED: 2}


@dataclass(frozen=True, slots=True)
class Share:
    """``events`` of ``trials``, with the 95 % interval (Wilson) of the true share."""

    events: int
    trials: int

    @property
    def share(self) -> float:
        return self.events / self.trials if self.trials else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.events, self.trials)


@dataclass(frozen=True, slots=True)
class Judged:
    """An attempt. ``cause``: None for one that was paid in time."""

    attempt: Attempt
    slow: bool
    cause: Cause | None


@dataclass(frozen=True, slots=True)
class Figures:
    """A trial by ``name``. ``wanted``: without what its owner declined or somebody canceled."""

    name: str
    timeline: Timeline
    slow_ms: float
    judged: Sequence[Judged]
    success: Share
    wanted: Share
    legs: dict[str, Summary]
    causes: Counter[str]
    matrix: Counter[tuple[AtLane, Decided]]
    blind: Sequence[Blindness]
    incidents: Sequence[Incident]
    presences: Sequence[Presence]
    clock_truths: Sequence[ClockTruth]
    #: What is counted and drawn: from the trial's start to its stop, as far as they were noted.
    period: Period

    @property
    def began_ns(self) -> int:
        """When what is drawn begins."""
        begun = self.period.from_ns
        return self.timeline.began_ns if begun is None else begun

    @property
    def ended_ns(self) -> int:
        """When it ends: a payment that was begun in the trial may end after it."""
        if self.period.to_ns is None:
            return self.timeline.ended_ns
        return max([self.period.to_ns, *(judged.attempt.ended_ns for judged in self.judged)])

    @property
    def troubled(self) -> list[Judged]:
        """Those with a cause: failed, then slow, then as somebody wished; each oldest first."""
        found = [judged for judged in self.judged if judged.cause is not None]
        return sorted(found, key=lambda j: (_RANKS.get(j.attempt.outcome, 0), j.attempt.asked_ns))


def figures(
    name: str,
    timeline: Timeline,
    slow_ms: float = USUAL_SLOW_MS,
    truth: Mapping[str, Any] | None = None,
) -> Figures:
    """Of the trial by this ``name``, from its start to its stop.

    ``slow_ms``: from then on a payment is slow, without its owner's time.

    ``truth``: what the player of a virtual trial says it did.
    """
    during = period(timeline, name)
    found = [attempt for attempt in attempts(timeline) if during.holds(attempt.asked_ns)]
    judged = [_judged(attempt, timeline, slow_ms) for attempt in found]
    paid = sum(attempt.outcome is Outcome.PAID for attempt in found)
    marked = presences(timeline, truth)
    unwanted = sum(a.outcome in {Outcome.DECLINED, Outcome.CANCELED} for a in found)
    return Figures(
        name=name,
        timeline=timeline,
        slow_ms=slow_ms,
        judged=judged,
        success=Share(paid, len(found)),
        wanted=Share(paid, len(found) - unwanted),
        legs={leg: _leg(leg, found) for leg in NAMES},
        causes=Counter(j.cause.title for j in judged if j.cause is not None),
        matrix=confusion(found, marked),
        blind=[w for w in blind_windows(timeline) if during.overlaps(w.from_ns, w.to_ns)],
        incidents=[
            i for i in incidents(timeline, truth) if during.overlaps(i.at_ns, i.until_ns or i.at_ns)
        ],
        presences=marked,
        clock_truths=clock_truths(timeline.alignment, truth),
        period=during,
    )


def _judged(attempt: Attempt, timeline: Timeline, slow_ms: float) -> Judged:
    worked_ms = attempt.worked_ms
    slow = worked_ms is not None and worked_ms >= slow_ms
    well = attempt.outcome is Outcome.PAID and worked_ms is not None
    found = None if well and not slow else cause(Scene(attempt, timeline))
    return Judged(attempt, slow, found)


def _leg(leg: str, found: Sequence[Attempt]) -> Summary:
    """Of the attempts that were paid: what failed has no honest time."""
    paid = (attempt for attempt in found if attempt.outcome is Outcome.PAID)
    values = (attempt.legs.legs_ms[leg] for attempt in paid)
    return summary([ms for ms in values if ms is not None])

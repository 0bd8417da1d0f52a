"""What a replay shows people and programs. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.table import Table

from fieldkit.trials.lane_recording import LaneRecording
from fieldkit.trials.replaying import Replayed
from fieldkit.trials.to_air import Played

#: Decisions that come out otherwise are shown up to so many, for a person reads them.
SHOWN: Final = 40
_US_PER_S: Final = 1e6


@dataclass(frozen=True, slots=True)
class LaneReplay:
    """One run of one terminal, replayed in ``took_s`` seconds."""

    recording: LaneRecording
    decisions: Sequence[Replayed]
    took_s: float

    @property
    def decided(self) -> int:
        """How many could be decided again."""
        return sum(one.answer is not None for one in self.decisions)

    @property
    def differing(self) -> list[Replayed]:
        return [one for one in self.decisions if one.differs]

    @property
    def times_real(self) -> float:
        """How many times as fast as it happened."""
        return self.recording.span_s / self.took_s if self.took_s else 0.0

    def at_s(self, one: Replayed) -> float:
        """When a decision was made, in seconds since the first of its run."""
        return (one.decision.now_us - self.decisions[0].decision.now_us) / _US_PER_S


def tables(done: Sequence[LaneReplay]) -> Iterator[Table | str]:
    yield _summary(done)
    if reasons := Counter(one.reason for lane in done for one in lane.decisions if one.reason):
        yield "Not replayed: " + "; ".join(f"{n} because {why}" for why, n in reasons.items()) + "."
    if any(lane.differing for lane in done):
        yield _differences(done)
    heard, took_s = sum(lane.recording.adverts for lane in done), sum(lane.took_s for lane in done)
    span_s = sum(lane.recording.span_s for lane in done)
    if took_s:
        times = span_s / took_s
        yield f"{heard} adverts in {took_s:.2f} s, {times:.0f} times as fast as they came."


def _summary(done: Sequence[LaneReplay]) -> Table:
    table = Table(title="Decisions of lanes, replayed")
    table.add_column("lane")
    for title in ("adverts", "decisions", "the same", "otherwise", "not replayed", "times real"):
        table.add_column(title, justify="right")
    for lane in done:
        otherwise = len(lane.differing)
        table.add_row(
            lane.recording.name,
            str(lane.recording.adverts),
            str(len(lane.decisions)),
            str(lane.decided - otherwise),
            str(otherwise),
            str(len(lane.decisions) - lane.decided),
            f"{lane.times_real:.0f}",
        )
    return table


def _differences(done: Sequence[LaneReplay]) -> Table:
    every = [(lane, one) for lane in done for one in lane.differing]
    title = f"Otherwise ({SHOWN} of {len(every)})" if len(every) > SHOWN else "Otherwise"
    table = Table(title=title)
    for name in ("lane", "second", "asked", "recorded", "today", "payment"):
        table.add_column(name, justify="right" if name == "second" else "left")
    # What was asked for a payment matters more than what was merely shown.
    for lane, one in sorted(every, key=lambda each: each[1].decision.payment is None)[:SHOWN]:
        decision = one.decision
        table.add_row(
            lane.recording.name,
            f"{lane.at_s(one):.1f}",
            decision.asked,
            str(decision.answer),
            str(one.answer),
            (decision.payment or "")[-12:],
        )
    return table


def document(
    trial: str, changed: Mapping[str, float], done: Sequence[LaneReplay]
) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "trial": trial,
        "changed_rules": dict(changed),
        "lanes": [
            {
                "machine": lane.recording.machine,
                "lane": lane.recording.lane,
                "run": lane.recording.run,
                "adverts": lane.recording.adverts,
                "span_s": round(lane.recording.span_s, 3),
                "took_s": round(lane.took_s, 4),
                "decisions": [_decision(one) for one in lane.decisions],
            }
            for lane in done
        ],
        "same": sum(lane.decided - len(lane.differing) for lane in done),
        "otherwise": sum(len(lane.differing) for lane in done),
        "not_replayed": sum(len(lane.decisions) - lane.decided for lane in done),
    }


def _decision(one: Replayed) -> dict[str, Any]:
    decision = one.decision
    return {
        "now_us": decision.now_us,
        "asked": decision.asked,
        "payment": decision.payment,
        "recorded": decision.answer.to_json(),
        "replayed": one.answer.to_json() if one.answer else None,
        "not_replayed": one.reason.value if one.reason else None,
    }


def told_played(played: Played, speed: float) -> str:
    """What came of adverts that went to the air once more."""
    lost = f", {played.unheard} while nobody scanned" if played.unheard else ""
    return (
        f"{played.adverts} adverts in {played.took_s:.1f} s at {speed:g} times the speed{lost}; "
        f"the latest came {played.latest_s * 1000:.0f} ms after its time."
    )

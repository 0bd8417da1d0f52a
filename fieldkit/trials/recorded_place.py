"""A recorded lane as a place where rules are tried, as far as it is known who stood there. Pure.

Its questions are the charges that were asked without a handle. What neighbours heard is known at
each recorded decision, and taken to have stayed like that until the next.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from fieldkit.trials.lane_recording import Decision, LaneRecording, Stretch
from fieldkit.trials.questions import STEP_S, Asking, Judged, Question, judged
from fieldkit.trials.replaying import Ear
from fieldkit.trials.simulated_place import moved
from fieldkit.world.scenario import QUESTION_S
from payment_device.sightings import Choice, Chosen, LaneRules

#: Decisions are recorded at least once a second while anything is heard.
_FRESH_US: Final = 1_500_000
_STEP_US: Final = round(STEP_S * 1e6)
_STEPS: Final = round(QUESTION_S / STEP_S)


@dataclass(frozen=True, slots=True)
class Stay:
    """A car stood at a lane, by the clock of that lane's terminal; ``jack``: as it was marked."""

    jack: str
    from_us: int
    until_us: int


@dataclass(frozen=True, slots=True)
class AskedCharge:
    """``right``: the handles of the jack that stands there; none if no jack does."""

    question: Question
    asked_us: int
    right: frozenset[str]


@dataclass(frozen=True)
class RecordedPlace:
    """``alike``: all lanes of the trial had one threshold, and all will have the new one.

    Otherwise what neighbours told stays as they told it.
    """

    recording: LaneRecording
    charges: Sequence[AskedCharge]
    usual: LaneRules
    alike: bool

    @property
    def name(self) -> str:
        return self.recording.name

    @property
    def questions(self) -> Sequence[Question]:
        return [charge.question for charge in self.charges]

    @property
    def shares(self) -> bool:
        return any(decision.elsewhere for decision in self.recording.decisions)

    def play(self, candidates: Sequence[LaneRules]) -> Iterator[Judged]:
        """Every question under every set of rules. All have to agree on ``quiet_after_s``."""
        by_stretch = defaultdict[int, list[int]](list)
        for number, charge in enumerate(self.charges):
            stretch = stretch_of(self.recording, charge.asked_us)
            if stretch is not None:
                by_stretch[stretch].append(number)
        for stretch, numbers in by_stretch.items():
            yield from self._play(self.recording.stretches[stretch], numbers, candidates)

    def _play(
        self, stretch: Stretch, numbers: Sequence[int], candidates: Sequence[LaneRules]
    ) -> Iterator[Judged]:
        ear = Ear(stretch, self.usual)
        asked = {n: self.charges[n].asked_us for n in numbers}
        waiting = {n: Asking(asked_us / 1e6, candidates) for n, asked_us in asked.items()}
        looks = [(at + step * _STEP_US, n) for n, at in asked.items() for step in range(_STEPS + 1)]
        for now_us, number in sorted(looks):
            if not waiting[number].open:
                continue
            ear.feed_until(now_us)
            elsewhere = ear.codes(self._elsewhere(now_us), now_us)

            def choose(
                rules: LaneRules, now_us: int = now_us, told: Mapping[bytes, float] = elsewhere
            ) -> Choice:
                shift_db = self.usual.min_rssi_dbm - rules.min_rssi_dbm if self.alike else 0.0
                return ear.sightings.choose(now_us / 1e6, moved(told, shift_db), rules)

            for rules, choice in waiting[number].look(choose, now_us / 1e6):
                right = isinstance(choice, Chosen) and (
                    choice.jack.handle in self.charges[number].right
                )
                yield judged(number, rules, choice, right=right)

    def _elsewhere(self, now_us: int) -> Mapping[str, float]:
        index = bisect_right(self._decided_us, now_us) - 1
        if index < 0 or now_us - self._decided_us[index] > _FRESH_US:
            return {}
        return self.recording.decisions[index].elsewhere

    @cached_property
    def _decided_us(self) -> Sequence[int]:
        return [decision.now_us for decision in self.recording.decisions]


def stretch_of(recording: LaneRecording, now_us: int) -> int | None:
    """The last stretch that had begun by then; None: there was none."""
    begun = [
        number
        for number, stretch in enumerate(recording.stretches)
        if not stretch.before or (stretch.adverts and stretch.adverts[0].mono_us <= now_us)
    ]
    return begun[-1] if begun else None


def recorded_place(
    trial: str,
    recording: LaneRecording,
    stays: Iterable[Stay],
    handles: Mapping[str, frozenset[str]],
    *,
    alike: bool,
) -> RecordedPlace | None:
    """The questions of a recording whose truth is known; None if there are none.

    ``handles``: by jack, all that it had; a car without a jack has an empty set.
    """
    if recording.rules is None:
        return None
    stays, charges = list(stays), []
    for payment, asked_us in _askable(recording, recording.rules):
        stay = next((s for s in stays if s.from_us <= asked_us <= s.until_us), None)
        if stay is not None and stay.jack in handles:
            right = handles[stay.jack]
            question = Question(payment, recording.lane, f"{trial}: {stay.jack}", bool(right))
            charges.append(AskedCharge(question, asked_us, right))
    return RecordedPlace(recording, charges, recording.rules, alike) if charges else None


def _askable(recording: LaneRecording, rules: LaneRules) -> Iterator[tuple[str, int]]:
    """Charges for which nobody picked a jack, and with no hole before their question or in it."""
    picked = {decision.payment for decision in recording.decisions if decision.picked}
    decided = {decision.payment: decision for decision in recording.decisions}
    ears = [Ear(stretch, rules) for stretch in recording.stretches]
    for payment, asked_us in sorted(recording.asked_us.items(), key=lambda item: item[1]):
        number = stretch_of(recording, asked_us)
        if number is None or payment in picked or payment not in decided:
            continue
        ear = ears[number]
        ear.feed_until(asked_us)
        last = number == len(ears) - 1
        covered = last or ear.stretch.adverts[-1].mono_us >= asked_us + _STEPS * _STEP_US
        if covered and _has(ear.stretch, decided[payment]) and ear.sure(asked_us):
            yield payment, asked_us


def _has(stretch: Stretch, decision: Decision) -> bool:
    return stretch.before <= decision.adverts <= stretch.after

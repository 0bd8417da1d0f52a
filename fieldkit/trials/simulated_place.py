"""A scenario of ``fieldkit world`` as a place where rules are tried, the same at all lanes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from fieldkit.trials.questions import STEP_S, Asking, Judged, Question, judged
from fieldkit.world import hearing, traffic
from fieldkit.world.hearing import Airtime, Heard
from fieldkit.world.scenario import Scenario
from fieldkit.world.traffic import Day
from fieldkit.world.trial import TOLD_EVERY_STEPS
from payment_device.shared_hearing import SharedHearing
from payment_device.sightings import NOWHERE_ELSE, Choice, Chosen, LaneRules, Sightings


@dataclass(frozen=True)
class SimulatedPlace:
    """Deterministic: the seed is the scenario's."""

    scenario: Scenario

    @property
    def name(self) -> str:
        return self.scenario.name

    @property
    def usual(self) -> LaneRules:
        return LaneRules()

    @property
    def shares(self) -> bool:
        return self.scenario.share and len(self.scenario.lanes) > 1

    @cached_property
    def questions(self) -> Sequence[Question]:
        cars = self._day.cars
        return [
            Question(
                f"{self.name}: {self.scenario.lanes[asked.lane].name} at {asked.at_s:.1f} s",
                self.scenario.lanes[asked.lane].name,
                f"{self.name}: {f'empty {n}' if asked.car is None else cars[asked.car].name}",
                asked.car is not None and cars[asked.car].jack,
            )
            for n, asked in enumerate(self._day.questions)
        ]

    @cached_property
    def _day(self) -> Day:
        return traffic.day(self.scenario, self.scenario.seed)

    @cached_property
    def _air(self) -> Airtime:
        return hearing.listen(self.scenario, self._day, self.scenario.seed)

    def play(self, candidates: Sequence[LaneRules]) -> Iterator[Judged]:
        """Every question under every set of rules. All have to agree on ``quiet_after_s``."""
        ears = [_Ear(heard, self._air.codes) for heard in self._air.lanes]
        waiting = list(reversed(list(enumerate(self._day.questions))))
        open_now: list[tuple[int, Asking]] = []
        told_at = -TOLD_EVERY_STEPS
        for step in range(round(self.scenario.duration_s / STEP_S) + 1):
            now_s = step * STEP_S
            while waiting and waiting[-1][1].at_s <= now_s:
                number, asked = waiting.pop()
                open_now.append((number, Asking(asked.at_s, candidates)))
            if not open_now:
                continue
            for ear in ears:
                ear.feed(now_s)
            if self.shares and step - told_at >= TOLD_EVERY_STEPS:
                told_at = step
                _tell(ears, now_s)
            for number, asking in open_now:
                ear = ears[self._day.questions[number].lane]
                for rules, choice in asking.look(ear.asked(now_s, shares=self.shares), now_s):
                    yield judged(number, rules, choice, right=self._is_right(number, choice))
            open_now = [one for one in open_now if one[1].open]

    def _is_right(self, question: int, choice: Choice) -> bool:
        car = self._day.questions[question].car
        if not isinstance(choice, Chosen) or car is None:
            return False
        return self._owners[choice.jack.code] == car

    @cached_property
    def _owners(self) -> Mapping[bytes, int | None]:
        return dict(zip(self._air.codes, self._air.owner, strict=True))


class _Ear:
    """One terminal, fed with what it hears up to now."""

    def __init__(self, heard: Heard, codes: Sequence[bytes]) -> None:
        self._heard = heard
        self._codes = codes
        self._next = 0
        self.sightings = Sightings(LaneRules())
        self.neighbours = SharedHearing()

    def feed(self, until_s: float) -> None:
        at_s, codes, levels = self._heard.at_s, self._heard.codes, self._heard.rssi_dbm
        while self._next < len(at_s) and at_s[self._next] <= until_s:
            n = self._next
            self.sightings.hear(self._codes[codes[n]], levels[n], at_s[n])
            self._next += 1

    def asked(self, now_s: float, *, shares: bool) -> _Asked:
        return _Asked(self, now_s, self.neighbours.elsewhere(now_s) if shares else NOWHERE_ELSE)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A lane at one moment, to be asked by any rules; its neighbours have the same."""

    ear: _Ear
    now_s: float
    elsewhere: Mapping[bytes, float]

    def __call__(self, rules: LaneRules) -> Choice:
        shift_db = LaneRules().min_rssi_dbm - rules.min_rssi_dbm
        elsewhere = moved(self.elsewhere, shift_db)
        return self.ear.sightings.choose(self.now_s, elsewhere, rules)


def moved(elsewhere: Mapping[bytes, float], shift_db: float) -> Mapping[bytes, float]:
    """What neighbours tell whose threshold is lower by ``shift_db``."""
    if not elsewhere or not shift_db:
        return elsewhere
    return {code: level_db + shift_db for code, level_db in elsewhere.items()}


def _tell(ears: Sequence[_Ear], now_s: float) -> None:
    told = [ear.sightings.told_to_neighbours(now_s) for ear in ears]
    for number, ear in enumerate(ears):
        for other, heard_db in enumerate(told):
            if other != number:
                ear.neighbours.take(str(other), heard_db, now_s)

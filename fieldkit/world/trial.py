"""One run of a scenario: the real lane decision hears what the terminals hear, and is asked.

The clock is turned in steps of ``STEP_S``; time, codes and levels reach
``payment_device.sightings`` as arguments, just as in a terminal. A question is put as
``payment_device.lane_radio`` puts it: again and again until a jack is chosen or patience ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from fieldkit.world import hearing, traffic
from fieldkit.world.baselines import Plain
from fieldkit.world.hearing import Heard
from fieldkit.world.scenario import Scenario
from fieldkit.world.tally import Culprit, Outcome, Tally, Truth
from fieldkit.world.till import Answer, Till, Verdict, verdict_of
from fieldkit.world.traffic import Day, Question
from payment_device.calibration import CalibrationError, derive
from payment_device.shared_hearing import SharedHearing
from payment_device.sightings import NOWHERE_ELSE, Absence, LaneRules, Sightings

STEP_S: Final = 0.1
#: How often a lane tells its neighbours what it hears.
TOLD_EVERY_STEPS: Final = 3
MARGINS_DB: Final = (0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 16.0)

LAST: Final = "last RSSI"
AVERAGE: Final = "EWMA"
FACTORY: Final = "uncalibrated"
ALONE: Final = "calibrated"
SHARED: Final = "shared"
#: In the order in which they are shown: the two to beat, and three degrees of the real decision.
POLICIES: Final = (LAST, AVERAGE, FACTORY, ALONE, SHARED)
SWEPT: Final = (ALONE, SHARED)
#: How long the picture of a scenario is.
GLIMPSED_S: Final = 60.0

Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Glimpse:
    """A moment at the first lane, for a picture: seconds, and the level of each car's jack."""

    at_s: float
    levels_dbm: Mapping[int | None, int]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one scenario.

    ``tallies``: by policy, at the margin of its rules. ``sweep``: by policy and margin in dB.
    ``leads_db``: by how much the jack of the car at the lane led when the till asked.
    """

    scenario: Scenario
    seed: int
    cars: int
    adverts: int
    rules: Sequence[LaneRules]
    tallies: Mapping[str, Tally]
    sweep: Mapping[tuple[str, float], Tally]
    leads_db: Sequence[float]
    glimpses: Sequence[Glimpse]
    day: Day = field(repr=False)


class _Ear:
    """One terminal: fed with what it hears up to now."""

    def __init__(self, heard: Heard, codes: Sequence[bytes], rules: LaneRules) -> None:
        self._heard = heard
        self._codes = codes
        self._next = 0
        self.rules = rules
        self.sightings = Sightings(rules)
        self.plain = Plain(LaneRules().min_rssi_dbm)
        self.neighbours = SharedHearing()

    def feed(self, until_s: float) -> None:
        at_s, codes, levels = self._heard.at_s, self._heard.codes, self._heard.rssi_dbm
        index, end = self._next, len(at_s)
        while index < end and at_s[index] <= until_s:
            code = codes[index]
            self.sightings.hear(self._codes[code], levels[index], at_s[index])
            self.plain.hear(code, levels[index], at_s[index])
            index += 1
        self._next = index


class Trial:
    """Plays one scenario; ``run`` it once."""

    def __init__(self, scenario: Scenario, seed: int | None = None) -> None:
        """Raises ScenarioError."""
        self._scenario = scenario
        self._seed = scenario.seed if seed is None else seed
        self._day = traffic.day(scenario, self._seed)
        self._air = hearing.listen(scenario, self._day, self._seed)
        self._numbers = {code: number for number, code in enumerate(self._air.codes)}
        self._rules = [rules_of(scenario, lane, self._seed) for lane in range(len(scenario.lanes))]
        self._ears = [
            _Ear(heard, self._air.codes, rules)
            for heard, rules in zip(self._air.lanes, self._rules, strict=True)
        ]
        self._told_at = -TOLD_EVERY_STEPS
        self._tallies: dict[tuple[str, float], Tally] = {}
        self._leads_db: list[float] = []
        self._glimpses: list[Glimpse] = []

    def run(self, progress: Progress = lambda _share: None) -> Result:
        """``progress`` is told the share that is done, from 0 to 1."""
        waiting = list(reversed(self._day.questions))
        tills: list[Till] = []
        steps = round(self._scenario.duration_s / STEP_S)
        glimpsed = _glimpsed_steps(self._day)
        for step in range(steps):
            now_s = step * STEP_S
            while waiting and waiting[-1].at_s <= now_s:
                tills.append(Till(waiting.pop(), _margins_db()))
            if not tills and step not in glimpsed:
                continue
            self._listen(step, now_s)
            if step in glimpsed:
                self._glimpses.append(self._glimpse(now_s))
            for till in tills:
                self._put(till, now_s)
            tills = [till for till in tills if till.waiting]
            progress(step / steps)
        return self._result()

    def _listen(self, step: int, now_s: float) -> None:
        """Every terminal hears what has been sent up to now, and now and then tells the others."""
        for ear in self._ears:
            ear.feed(now_s)
        if step - self._told_at < TOLD_EVERY_STEPS or not _shares(self._scenario):
            return
        self._told_at = step
        told = [ear.sightings.told_to_neighbours(now_s) for ear in self._ears]
        for number, ear in enumerate(self._ears):
            for other, heard_db in enumerate(told):
                if other != number:
                    ear.neighbours.take(str(other), heard_db, now_s)

    def _put(self, till: Till, now_s: float) -> None:
        """Ask all policies what they say now."""
        ear = self._ears[till.question.lane]
        if now_s - till.question.at_s < STEP_S:
            self._note_lead(till.question, ear, now_s)
        elsewhere = ear.neighbours.elsewhere(now_s) if _shares(self._scenario) else NOWHERE_ELSE

        def real(rules: LaneRules, elsewhere: Mapping[bytes, float]) -> Callable[[float], Verdict]:
            return lambda margin_db: verdict_of(
                ear.sightings.choose(now_s, elsewhere, replace(rules, margin_db=margin_db)),
                self._numbers,
            )

        deciders: dict[str, Callable[[float], Verdict]] = {
            LAST: lambda _: _plain(ear.plain.strongest_last(now_s)),
            AVERAGE: lambda _: _plain(ear.plain.strongest_average(now_s)),
            FACTORY: real(LaneRules(), NOWHERE_ELSE),
            ALONE: real(ear.rules, NOWHERE_ELSE),
            SHARED: real(ear.rules, elsewhere),
        }
        for policy, decide in deciders.items():
            for answer in till.look(policy, decide, now_s):
                self._count(till.question, answer)

    def _count(self, question: Question, answer: Answer) -> None:
        tally = self._tallies.setdefault((answer.policy, answer.margin_db), Tally())
        truth, verdict = self._truth(question), answer.verdict
        if verdict.code is None:
            outcome = Outcome.AMBIGUOUS if verdict.ambiguous else Outcome.NONE
        elif truth is Truth.JACK and self._air.owner[verdict.code] == question.car:
            outcome = Outcome.RIGHT
        else:
            outcome = Outcome.WRONG
            tally.culprits[self._culprit(question, verdict.code)] += 1
        tally.count(truth, outcome, answer.after_s, verdict.reason)

    def _culprit(self, question: Question, code: int) -> Culprit:
        owner = self._air.owner[code]
        if owner is None:
            return Culprit.REPLAYED
        if code in self._air.replayed and self._day.cars[owner].lane != question.lane:
            return Culprit.RELAYED
        lane = self._day.cars[owner].lane
        if lane is None:
            return Culprit.BYSTANDER
        return Culprit.SAME_LANE if lane == question.lane else Culprit.OTHER_LANE

    def _truth(self, question: Question) -> Truth:
        if question.car is None:
            return Truth.NOBODY
        return Truth.JACK if self._day.cars[question.car].jack else Truth.CAR_WITHOUT

    def _note_lead(self, question: Question, ear: _Ear, now_s: float) -> None:
        """By how much the right one leads, if both it and another are heard."""
        levels = self._levels(ear, now_s)
        own = levels.pop(question.car, None) if question.car is not None else None
        if own is not None and levels:
            self._leads_db.append(own - max(levels.values()))

    def _levels(self, ear: _Ear, now_s: float) -> dict[int | None, int]:
        """The level of each car's jack; of an attacker's if it is the owner's place taken."""
        found: dict[int | None, int] = {}
        for jack in ear.sightings.nearby(now_s):
            if not jack.quiet:
                found.setdefault(self._air.owner[self._numbers[jack.code]], jack.rssi_dbm)
        return found

    def _glimpse(self, now_s: float) -> Glimpse:
        return Glimpse(now_s, self._levels(self._ears[0], now_s))

    def _result(self) -> Result:
        margin_db = LaneRules().margin_db
        fixed = {policy: self._tallies.get((policy, margin_db), Tally()) for policy in POLICIES}
        return Result(
            self._scenario,
            self._seed,
            len(self._day.cars),
            sum(len(heard.at_s) for heard in self._air.lanes),
            self._rules,
            fixed,
            {key: tally for key, tally in self._tallies.items() if key[0] in SWEPT},
            self._leads_db,
            self._glimpses,
            self._day,
        )


def rules_of(scenario: Scenario, lane: int, seed: int) -> LaneRules:
    """A lane as ``payment-device calibrate`` would set it, with cars at marked places."""
    readings = hearing.marked_places(scenario, lane, seed)
    try:
        found = derive(readings)
    except CalibrationError:
        return LaneRules()
    return LaneRules(min_rssi_dbm=found.min_rssi_dbm)


def _plain(code: int | None) -> Verdict:
    return Verdict(code, "" if code is not None else Absence.NONE_HEARD.value)


def _shares(scenario: Scenario) -> bool:
    return scenario.share and len(scenario.lanes) > 1


def _margins_db() -> dict[str, tuple[float, ...]]:
    """By policy; those that know no margin are asked at that of the rules, to be found there."""
    default = (LaneRules().margin_db,)
    swept = tuple(sorted({*MARGINS_DB, *default}))
    return {policy: swept if policy in SWEPT else default for policy in POLICIES}


def _glimpsed_steps(day: Day) -> range:
    """A minute around the first stop at the first lane; half a minute in if nobody stops there."""
    stops = [car.stop_s[0] for car in day.cars if car.lane == 0 and car.stop_s]
    middle_s = stops[min(2, len(stops) - 1)] if stops else 30.0
    first = max(0, round((middle_s - GLIMPSED_S / 4) / STEP_S))
    return range(first, first + round(GLIMPSED_S / STEP_S), 2)

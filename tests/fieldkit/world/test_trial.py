"""Whole runs: the real decision with the truth beside it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fieldkit.world.scenario import Scenario, parse, shipped
from fieldkit.world.tally import Culprit, Outcome, Truth
from fieldkit.world.trial import (
    ALONE,
    AVERAGE,
    FACTORY,
    LAST,
    MARGINS_DB,
    POLICIES,
    SHARED,
    SWEPT,
    Result,
    Trial,
)
from payment_device.sightings import LaneRules
from tests.fieldkit.world.places import STILL, lane, scenario


def play(place: Scenario, seed: int = 1) -> Result:
    return Trial(place, seed).run()


def of_shipped(name: str, duration_s: float) -> Scenario:
    (file,) = (file for file in shipped() if file.stem == name)
    return parse(file.read_text(), name).model_copy(update={"duration_s": duration_s})


def test_where_nothing_is_left_to_chance_everybody_is_right() -> None:
    result = play(scenario(**STILL))
    for policy in POLICIES:
        tally = result.tallies[policy]
        assert tally.of(Outcome.RIGHT) == tally.questions > 4, policy
    after_s = result.tallies[SHARED].decided_at(95)
    assert after_s is not None
    assert after_s < 0.2  # a car that has stood for a while is known before anyone asks


def test_a_car_without_a_jack_has_no_right_jack() -> None:
    nobody = STILL | {"jacks": STILL["jacks"] | {"in_cars": 0.0}}
    result = play(scenario(**nobody))
    for policy in POLICIES:
        assert result.tallies[policy].share(Outcome.NONE, Truth.CAR_WITHOUT) == 1.0


def test_the_neighbour_of_a_car_without_a_jack_is_spared_by_sharing() -> None:
    """Every second car has a jack; a lane by itself hears that of its neighbour well enough."""
    half = STILL | {"jacks": STILL["jacks"] | {"in_cars": 0.5}, "duration_s": 1500}
    side_by_side = scenario(lane(), lane("Lane 2", 5.5), **half)
    result = play(side_by_side)
    assert result.tallies[FACTORY].culprits[Culprit.OTHER_LANE] > 3
    assert result.tallies[SHARED].culprits[Culprit.OTHER_LANE] == 0
    assert result.tallies[SHARED].of(Outcome.RIGHT) >= result.tallies[FACTORY].of(Outcome.RIGHT)
    apart = play(side_by_side.model_copy(update={"share": False}))
    assert apart.tallies[SHARED].matrix == apart.tallies[ALONE].matrix


@pytest.fixture(scope="module")
def pumps() -> Result:
    return play(of_shipped("two-pumps", 1500))


def test_a_seed_is_a_result(pumps: Result) -> None:
    again = play(of_shipped("two-pumps", 1500))
    assert again.tallies == pumps.tallies
    assert again.sweep == pumps.sweep
    assert play(of_shipped("two-pumps", 1500), seed=2).tallies != pumps.tallies


def test_the_real_decision_is_wrong_less_often_than_what_is_usual(pumps: Result) -> None:
    wrong = {policy: pumps.tallies[policy].wrong for policy in POLICIES}
    assert wrong[LAST] > wrong[AVERAGE] > 3 * wrong[SHARED]
    assert wrong[ALONE] >= wrong[SHARED]


def test_a_larger_margin_is_never_wrong_more_often(pumps: Result) -> None:
    for policy in SWEPT:
        tallies = [pumps.sweep[policy, margin_db] for margin_db in MARGINS_DB]
        wrong = [tally.wrong for tally in tallies]
        assert wrong == sorted(wrong, reverse=True)
        assert wrong[0] > 0
        assert {tally.questions for tally in tallies} == {pumps.tallies[policy].questions}
        assert pumps.sweep[policy, LaneRules().margin_db].matrix == pumps.tallies[policy].matrix


def test_each_question_is_answered_once_by_each(pumps: Result) -> None:
    for policy in POLICIES:
        assert pumps.tallies[policy].questions == len(pumps.day.questions)


def test_lanes_are_calibrated_before_they_open(pumps: Result) -> None:
    assert len(pumps.rules) == 2
    for rules in pumps.rules:
        assert rules != LaneRules()
        assert replace(rules, min_rssi_dbm=LaneRules().min_rssi_dbm) == LaneRules()


def test_a_replayed_code_fools_the_strongest_and_hardly_the_real_decision() -> None:
    result = play(of_shipped("replaying-attacker", 300))
    replays = (Culprit.REPLAYED, Culprit.RELAYED)
    fooled = {
        policy: sum(result.tallies[policy].culprits[culprit] for culprit in replays)
        for policy in (LAST, SHARED)
    }
    assert fooled[LAST] > 10 * max(fooled[SHARED], 1)
    assert result.tallies[SHARED].reasons["sent_twice"] > 0


def test_progress_is_told() -> None:
    told: list[float] = []
    Trial(scenario(), 1).run(told.append)
    assert told == sorted(told)
    assert told[-1] > 0.7

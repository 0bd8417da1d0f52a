"""A scenario as a place where rules are tried; it has to agree with ``fieldkit world``."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fieldkit.trials.simulated_place import SimulatedPlace
from fieldkit.world.scenario import SCENARIOS_FOLDER, Scenario, load
from fieldkit.world.tally import Outcome, Tally
from fieldkit.world.trial import FACTORY, Trial
from payment_device.sightings import LaneRules


@pytest.fixture(scope="module")
def quiet() -> Scenario:
    return load(SCENARIOS_FOLDER / "quiet-lane.toml")


@pytest.fixture(scope="module")
def tally(quiet: Scenario) -> Tally:
    return Trial(quiet).run().tallies[FACTORY]


def test_the_usual_rules_come_to_what_the_world_says(quiet: Scenario, tally: Tally) -> None:
    place = SimulatedPlace(quiet)
    judged = list(place.play([LaneRules()]))
    assert len(judged) == len(place.questions) == tally.questions
    for outcome in Outcome:
        assert sum(one.outcome is outcome for one in judged) == tally.of(outcome)


def test_stricter_rules_choose_less(quiet: Scenario) -> None:
    usual = LaneRules()
    strict = replace(usual, margin_db=20.0, min_rssi_dbm=-62.0)
    judged = list(SimulatedPlace(quiet).play([usual, strict]))
    chosen = [sum(one.rules == n and one.answer.jack is not None for one in judged) for n in (0, 1)]
    assert chosen[1] < chosen[0]


def test_lanes_that_share_are_told_by_neighbours_with_the_same_rules() -> None:
    toll = load(SCENARIOS_FOLDER / "four-lane-toll.toml")
    short = toll.model_copy(update={"duration_s": 200.0})
    place = SimulatedPlace(short)
    assert place.shares
    rules = [replace(LaneRules(), home_margin_db=home_db) for home_db in (0.0, 15.0)]
    judged = list(place.play(rules))
    reasons = [{one.answer.reason for one in judged if one.rules == n} for n in (0, 1)]
    assert "between_lanes" not in reasons[0]
    assert "between_lanes" in reasons[1]

"""Scenario files: what is shipped can be played, and what is wrong is told all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from fieldkit.world import traffic
from fieldkit.world.scenario import MOST_CARS, MOST_LANES, ScenarioError, load, parse, shipped
from tests.fieldkit.world.places import lane, scenario

LANE = """
[[lanes]]
name = "Lane 1"
terminal_m = [0, 0]
stop_m = [0, 1.5]
entry_m = [-20, 1.5]
exit_m = [20, 1.5]
"""


@pytest.mark.parametrize("file", shipped(), ids=lambda file: file.stem)
def test_what_is_shipped_can_be_played(file: Path) -> None:
    found = load(file)
    assert found.name == file.stem
    assert found.about
    day = traffic.day(found, found.seed)
    assert len(day.questions) >= 100


def test_the_scenarios_of_the_issue_are_there() -> None:
    names = {file.stem for file in shipped()}
    assert names >= {
        "car-park",
        "drive-through-queue",
        "four-lane-toll",
        "parking-gate",
        "passing-traffic",
        "quiet-lane",
        "replaying-attacker",
        "two-pumps",
    }


def test_the_largest_world_is_as_large_as_is_allowed() -> None:
    (plaza,) = (load(file) for file in shipped() if file.stem == "twenty-lane-plaza")
    day = traffic.day(plaza, plaza.seed)
    assert len(plaza.lanes) == MOST_LANES
    present = max(
        sum(car.journey.at_s[0] <= at_s <= car.journey.at_s[-1] for car in day.cars)
        for at_s in range(0, int(plaza.duration_s), 5)
    )
    assert MOST_CARS / 2 < present <= MOST_CARS


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ScenarioError) as refused:
        parse(
            'title = "x"\nduration_s = 5\nspeed = 1\n[jacks]\nin_cars = 2\n' + LANE + "stop_s = 1\n"
        )
    assert {line.partition(":")[0] for line in str(refused.value).splitlines()} == {
        "duration_s",
        "speed",
        "jacks.in_cars",
        "lanes.0.stop_s",
    }


def test_what_does_not_fit_together_is_told_at_once() -> None:
    with pytest.raises(ScenarioError) as refused:
        parse(
            'title = "x"\nduration_s = 60\n[surroundings]\nchannel_sd_db = 9\n'
            + LANE * 2
            + "[[parked]]\nat_m = [0, 9]\ncolumns = 200\nrows = 2\n"
        )
    for problem in ("a name of its own", "can be parked", "channel_sd_db", "nothing is asked"):
        assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("title = ", "not TOML"),
        ('title = "x"\nduration_s = 60\nlanes = []\n', "lanes"),
        ('title = "x"\nduration_s = 60\n' + LANE + "service_s = [9, 3]\n", "the greater"),
        ('title = "x"\nduration_s = 60\n' + LANE + "arrivals_s = 5\nservice_s = [3, 9]\n", "stays"),
    ],
)
def test_what_cannot_be_played_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ScenarioError, match=problem):
        parse(text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"absent\.toml cannot be read"):
        load(tmp_path / "absent.toml")


def test_more_cars_than_there_is_room_for_are_refused() -> None:
    crowded = scenario(
        lane(arrivals_s=10.0),
        parked=[{"at_m": [0, 20], "columns": MOST_CARS}],
    )
    with pytest.raises(ScenarioError, match="more than 200"):
        traffic.day(crowded, 1)

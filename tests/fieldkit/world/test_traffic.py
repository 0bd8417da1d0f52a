"""Who drives where: cars keep their distance, and questions fall into stops."""

from __future__ import annotations

from itertools import pairwise

from fieldkit.motion import Position, distance_m
from fieldkit.world import traffic
from fieldkit.world.scenario import QUESTION_S
from tests.fieldkit.world.places import lane, scenario

BUSY = scenario(lane(arrivals_s=4.0), duration_s=200)


def test_cars_of_a_lane_stop_one_after_the_other() -> None:
    day = traffic.day(BUSY, 1)
    stops = [car.stop_s for car in day.cars if car.stop_s]
    assert len(stops) > 10
    for one, other in pairwise(stops):
        assert one[1] < other[0]
    for car in day.cars:
        assert car.stop_s is not None
        for at_s in car.stop_s:
            assert car.journey.position_at(at_s) == Position(*BUSY.lanes[0].stop_m)


def test_nobody_drives_through_the_car_ahead() -> None:
    day = traffic.day(BUSY, 1)
    for step in range(0, 2000, 3):
        places = [car.journey.position_at(step / 10) for car in day.cars]
        there = [place for place in places if place is not None and place.x_m <= 0]
        for one, other in pairwise(there):
            assert distance_m(one, other) > 3.0


def test_questions_fall_into_the_stop_and_leave_time_for_an_answer() -> None:
    day = traffic.day(BUSY, 1)
    assert len(day.questions) == len(day.cars)
    for question in day.questions:
        assert question.car is not None
        stop_s = day.cars[question.car].stop_s
        assert stop_s is not None
        assert stop_s[0] + 0.5 <= question.at_s <= stop_s[1] - QUESTION_S


def test_an_empty_lane_is_asked_only_while_nobody_stands_there() -> None:
    day = traffic.day(scenario(lane(arrivals_s=25.0, empty_questions_s=2.0), duration_s=600), 3)
    empty = [question.at_s for question in day.questions if question.car is None]
    assert len(empty) > 10
    for at_s in empty:
        for car in day.cars:
            assert car.stop_s is not None
            assert not car.stop_s[0] - QUESTION_S < at_s < car.stop_s[1]


def test_parked_and_passing_cars_ask_nothing() -> None:
    day = traffic.day(
        scenario(
            lane(arrivals_s=0, empty_questions_s=10.0),
            parked=[{"at_m": [0, 9], "columns": 3, "rows": 2}],
            traffic=[{"from_m": [-50, 7], "to_m": [50, 7], "every_s": 10.0}],
        ),
        1,
    )
    parked = [car for car in day.cars if car.parked]
    assert [car.journey.places[0] for car in parked][:4] == [
        Position(0, 9),
        Position(2.6, 9),
        Position(5.2, 9),
        Position(0, 14.5),
    ]
    assert len(day.cars) > len(parked) == 6
    assert all(question.car is None for question in day.questions)


def test_a_seed_is_a_day() -> None:
    assert traffic.day(BUSY, 1) == traffic.day(BUSY, 1)
    assert traffic.day(BUSY, 1) != traffic.day(BUSY, 2)


def test_one_lane_more_changes_nothing_in_the_others() -> None:
    """Every draw belongs to what it is drawn for."""
    wider = scenario(lane(arrivals_s=4.0), lane("Lane 2", 6.0), duration_s=200)
    own = [car for car in traffic.day(wider, 1).cars if car.lane == 0]
    assert own == traffic.day(BUSY, 1).cars

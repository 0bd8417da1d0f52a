"""Positions, drives and journeys."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldkit.motion import Drive, Journey, Position, distance_m, parked

places = st.builds(Position, st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))


def test_a_drive_is_straight_and_even() -> None:
    drive = Drive(Position(0, 0), Position(30, 40), speed_mps=5, departed_at_s=100)
    assert drive.duration_s == 10
    assert drive.position_at(100) == Position(0, 0)
    assert drive.position_at(102) == Position(6, 8)
    assert drive.position_at(110) == Position(30, 40)


@given(places, places, st.floats(0.1, 100), st.floats(-1e6, 1e6))
def test_a_drive_never_leaves_its_line(
    start: Position, to: Position, speed_mps: float, now_s: float
) -> None:
    drive = Drive(start, to, speed_mps, departed_at_s=0)
    at = drive.position_at(now_s)
    length_m = distance_m(start, to)
    assert distance_m(start, at) + distance_m(at, to) == pytest.approx(length_m, abs=1e-6)


def test_before_the_start_and_after_the_end_it_stands() -> None:
    drive = Drive(Position(0, 0), Position(1, 0), speed_mps=1, departed_at_s=0)
    assert drive.position_at(-5) == Position(0, 0)
    assert drive.position_at(5) == Position(1, 0)


@given(places, st.floats(-1e9, 1e9))
def test_a_parked_car_stays(at: Position, now_s: float) -> None:
    assert parked(at).position_at(now_s) == at


@pytest.mark.parametrize("speed_mps", [0.0, -1.0, math.nan, math.inf])
def test_a_speed_that_goes_nowhere_is_refused(speed_mps: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        Drive(Position(0, 0), Position(1, 0), speed_mps, departed_at_s=0)


@pytest.mark.parametrize("x_m", [math.nan, math.inf])
def test_a_place_off_the_map_is_refused(x_m: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Position(x_m, 0)


def test_a_journey_drives_stops_and_ends() -> None:
    east, north = Position(10, 0), Position(10, 4)
    journey = Journey((1.0, 3.0, 6.0, 8.0), (Position(0, 0), east, east, north))
    assert journey.position_at(0.9) is None
    assert journey.position_at(1.0) == Position(0, 0)
    assert journey.position_at(2.0) == Position(5, 0)
    assert journey.position_at(3.0) == journey.position_at(5.0) == east
    assert journey.position_at(7.0) == Position(10, 2)
    assert journey.position_at(8.0) == north
    assert journey.position_at(8.1) is None


@pytest.mark.parametrize("at_s", [(), (1.0,), (2.0, 1.0), (1.0, 2.0, 3.0)])
def test_a_journey_against_time_is_refused(at_s: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="journey"):
        Journey(at_s, (Position(0, 0), Position(1, 0)))

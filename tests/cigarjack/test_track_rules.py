"""What of gpsd's reports becomes a track."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cigarjack.config import JackSettings
from cigarjack.track_rules import Fix, Spacing, fix_of

REPORT: dict[str, Any] = {
    "class": "TPV",
    "mode": 3,
    "time": "2026-11-26T12:00:01.000Z",
    "lat": 50.11835,
    "lon": 8.66666,
}


def fix(**members: object) -> Fix:
    found = fix_of(json.dumps(REPORT | members).encode())
    assert found is not None
    return found


def at(second: float, speed: float | None) -> Fix:
    whole = int(second)
    return fix(time=f"2026-11-26T12:{whole // 60:02}:{second % 60:06.3f}Z", speed=speed)


def noted(told: list[Fix]) -> list[int]:
    spacing = Spacing()
    return [number for number, one in enumerate(told) if spacing.due(one, 0.0)]


def test_what_the_receiver_does_not_tell_is_null() -> None:
    assert fix(mode=2).members == {
        "lat_deg": 50.11835,
        "lon_deg": 8.66666,
        "accuracy_m": None,
        "speed_mps": None,
        "heading_deg": None,
        "fix": "2d",
    }


@pytest.mark.parametrize(
    "members",
    [
        {"mode": 0},
        {"mode": 1},
        {"class": "SKY"},
        {"lat": 90.1},
        {"lon": -181},
        {"lat": None},
        {"lat": "fifty"},
        {"speed": -1},
        {"time": "noon"},
    ],
)
def test_a_report_without_a_place_is_none(members: dict[str, Any]) -> None:
    assert fix_of(json.dumps(REPORT | members).encode()) is None


def test_a_number_that_is_none_is_no_place() -> None:
    assert fix_of(json.dumps(REPORT | {"lat": float("nan")}).encode()) is None


@given(st.binary())
def test_any_bytes_are_a_place_or_none(line: bytes) -> None:
    assert fix_of(line) is None


def test_a_car_that_moves_is_noted_once_a_second_whatever_the_rate() -> None:
    assert noted([at(tenth / 10, 5.0) for tenth in range(31)]) == [0, 10, 20, 30]


def test_a_car_that_stands_is_noted_every_ten_seconds() -> None:
    assert noted([at(second, 0.1) for second in range(25)]) == [0, 10, 20]
    assert noted([at(second, None) for second in range(12)]) == [0, 10]


def test_one_that_drives_off_is_noted_at_once() -> None:
    assert noted([at(0, 0.0), at(1, 0.0), at(2, 1.0), at(3, 1.0)]) == [0, 2, 3]


def test_a_receiver_whose_time_goes_back_is_noted_on() -> None:
    assert noted([at(600, 5.0), at(0, 5.0), at(1, 5.0)]) == [0, 1, 2]


def test_without_time_the_callers_seconds_count() -> None:
    spacing, told = Spacing(), fix(time=None, speed=5.0)
    assert [spacing.due(told, now_s) for now_s in (7.0, 7.9, 8.1)] == [True, False, True]


def test_it_is_off_unless_asked_for() -> None:
    assert JackSettings().gpsd == ""
    assert JackSettings(gpsd="[::1]:2947").gpsd == "[::1]:2947"


@pytest.mark.parametrize("text", ["localhost", ":2947", "localhost:", "localhost:0", "h:70000"])
def test_an_address_has_host_and_port(text: str) -> None:
    with pytest.raises(ValueError, match="write host:port"):
        JackSettings(gpsd=text)

"""Thresholds from readings at marked places.

Invariant of the sampling: cars drawn as the calibration assumes them are wrong as often as it says.
"""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from payment_device.calibration import (
    CAR_SD_DB,
    LEAST_ADVERTS,
    Calibration,
    CalibrationError,
    Reading,
    derive,
    reading_of,
)
from payment_device.sightings import LaneRules

A, B = (bytes([n] * 8) for n in (0xAA, 0xBB))


def reading(level_dbm: int, *, here: bool, place: str = "place") -> Reading:
    return Reading(place, here, (level_dbm - 3, level_dbm, level_dbm + 3) * LEAST_ADVERTS)


def measured(*away_dbm: int, here_dbm: int = -60) -> Calibration:
    away = [reading(level, here=False, place=str(level)) for level in away_dbm]
    return derive([reading(here_dbm, here=True), *away])


def test_the_worst_other_place_decides() -> None:
    assert measured(-80, -90) == measured(-80)
    assert measured(-80).away_dbm == -80


def test_one_place_measured_with_several_cars_counts_once_by_their_mean() -> None:
    cars = [reading(level, here=False, place="next lane") for level in (-70, -80, -90)]
    assert derive([reading(-60, here=True), *cars]).away_dbm == -80


def test_the_nearer_the_other_place_the_more_doubt() -> None:
    found = [measured(away_dbm) for away_dbm in (-95, -85, -78, -72, -66)]
    for far, near in pairwise(found):
        assert near.margin_db >= far.margin_db
        assert near.min_rssi_dbm >= far.min_rssi_dbm
        assert near.ambiguous is not None
        assert far.ambiguous is not None
        assert near.ambiguous > far.ambiguous


def test_a_clear_place_keeps_the_default_margin_and_misses_hardly_anyone() -> None:
    found = measured(-95)
    assert found.margin_db == LaneRules().margin_db
    assert found.missed < 0.01
    assert found.mistaken is not None
    assert found.mistaken < 0.02


def test_without_another_place_only_the_threshold_is_known() -> None:
    found = measured()
    assert (found.away_dbm, found.mistaken, found.wrong, found.ambiguous) == (None,) * 4
    assert found.missed == pytest.approx(0.006, abs=0.001)
    assert found.margin_db == LaneRules().margin_db


@pytest.mark.parametrize("away_dbm", [-90, -74, -68])
def test_errors_are_as_often_as_expected(away_dbm: int) -> None:
    found, draw, count = measured(away_dbm), random.Random(1), 40_000
    here = [draw.gauss(-60, CAR_SD_DB) for _ in range(count)]
    away = [draw.gauss(away_dbm, CAR_SD_DB) for _ in range(count)]
    missed = sum(level < found.min_rssi_dbm for level in here) / count
    mistaken = sum(level >= found.min_rssi_dbm for level in away) / count
    both = list(zip(here, away, strict=True))
    wrong = sum(other - own > found.margin_db for own, other in both) / count
    ambiguous = sum(abs(other - own) <= found.margin_db for own, other in both) / count
    expected = (found.missed, found.mistaken, found.wrong, found.ambiguous)
    assert (missed, mistaken, wrong, ambiguous) == pytest.approx(expected, abs=0.01)
    assert wrong <= 0.0015


@pytest.mark.parametrize(
    ("readings", "what"),
    [
        ([], "where customers stand"),
        ([reading(-60, here=False)], "where customers stand"),
        ([reading(-70, here=True), reading(-65, here=False)], "move the terminal nearer"),
        ([Reading("place 1", here=True, rssi_dbm=(-60,) * 5)], "only 5 times"),
    ],
)
def test_readings_that_give_no_threshold_say_what_to_do(readings: list[Reading], what: str) -> None:
    with pytest.raises(CalibrationError, match=what):
        derive(readings)


def test_a_reading_is_that_of_the_one_jack_that_is_near() -> None:
    adverts = [(A, -60)] * 50 + [(B, -75)] * 50 + [(A, 127)] * 9
    assert reading_of("stop", True, adverts) == Reading("stop", True, (-60,) * 50)


def test_two_jacks_alike_and_none_at_all_are_no_reading() -> None:
    with pytest.raises(CalibrationError, match="two jacks"):
        reading_of("stop", True, [(A, -60)] * 50 + [(B, -69)] * 50)
    with pytest.raises(CalibrationError, match="only 3 times"):
        reading_of("stop", True, [(A, -60)] * 3)
    with pytest.raises(CalibrationError, match="only 0 times"):
        reading_of("stop", True, [])

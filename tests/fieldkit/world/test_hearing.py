"""What terminals hear: the law of ``fieldkit.propagation``, and what cars and metal add."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import pytest

from fieldkit.motion import Position, distance_m
from fieldkit.propagation import Propagation, mean_rssi_dbm, received_rssi_dbm
from fieldkit.world import hearing, traffic
from fieldkit.world.hearing import Airtime
from fieldkit.world.scenario import Scenario
from tests.fieldkit.world.places import STILL, lane, scenario


def listen(place: Scenario, seed: int = 1) -> tuple[traffic.Day, Airtime]:
    day = traffic.day(place, seed)
    return day, hearing.listen(place, day, seed)


def standing(at_m: tuple[float, float], **changes: Any) -> Airtime:
    """A single parked jack that the terminal at (0, -1.5) hears."""
    quiet = lane(arrivals_s=0, empty_questions_s=5.0)
    members = STILL | {"parked": [{"at_m": at_m, "columns": 1}]} | changes
    return listen(scenario(quiet, **members))[1]


def test_without_chance_every_level_is_that_of_the_distance() -> None:
    place = scenario(**STILL)
    day, air = listen(place)
    (heard,) = air.lanes
    terminal = Position(*place.lanes[0].terminal_m)
    for at_s, code, rssi_dbm in zip(heard.at_s, heard.codes, heard.rssi_dbm, strict=True):
        car = air.owner[code]
        assert car is not None
        at = day.cars[car].journey.position_at(at_s)
        assert at is not None
        expected_dbm = mean_rssi_dbm(place.propagation, 0.0, distance_m(at, terminal))
        assert rssi_dbm == pytest.approx(expected_dbm, abs=0.51)


def test_adverts_come_every_100_ms_and_a_random_delay() -> None:
    heard = standing((0.0, 2.0)).lanes[0]
    gaps_s = np.diff(heard.at_s)
    within = gaps_s[gaps_s < 1]
    assert within.min() >= 0.1
    assert within.max() <= 0.11
    assert within.mean() == pytest.approx(0.105, abs=0.001)


def test_chance_is_spread_as_on_the_virtual_air() -> None:
    """The same site, place and number of packets, once packet by packet and once in one go."""
    site = Propagation(shadowing_sd_db=0, fading_sd_db=5, loss_probability=0.2)
    chance = STILL | {
        "propagation": {"shadowing_sd_db": 0, "fading_sd_db": 5, "loss_probability": 0.2},
        "duration_s": 600,
    }
    levels = standing((0.0, 8.5), **chance).lanes[0].rssi_dbm
    one_by_one = [
        received_rssi_dbm(site, 1, "jack", "lane", number, 0.0, 10.0) for number in range(6000)
    ]
    there = [level for level in one_by_one if level is not None]
    assert statistics.fmean(levels) == pytest.approx(statistics.fmean(there), abs=0.3)
    assert statistics.stdev(levels) == pytest.approx(statistics.stdev(there), abs=0.3)


def test_a_standing_jack_is_heard_at_three_levels() -> None:
    channels = STILL | {"propagation": STILL["propagation"] | {"fading_sd_db": 4}}
    channels |= {"surroundings": STILL["surroundings"] | {"channel_sd_db": 4}}
    assert len(set(standing((0.0, 2.0), **channels).lanes[0].rssi_dbm)) <= 3


def test_metal_takes_its_loss_from_what_crosses_it() -> None:
    free = standing((0.0, 2.0)).lanes[0].rssi_dbm[0]
    across = {"from_m": [-1, 0], "to_m": [1, 0], "loss_db": 12}
    aside = {"from_m": [1, 0], "to_m": [3, 0], "loss_db": 12}
    assert standing((0.0, 2.0), metal=[across]).lanes[0].rssi_dbm[0] == free - 12
    assert standing((0.0, 2.0), metal=[aside]).lanes[0].rssi_dbm[0] == free


def test_a_car_in_between_takes_its_loss() -> None:
    cars = {"surroundings": STILL["surroundings"] | {"vehicle_loss_db": 9}}
    row = {"at_m": (0.0, 3.0), "columns": 1, "rows": 2, "row_m": 3.0}
    heard = standing((0.0, 0.0), **(cars | {"parked": [row]})).lanes[0]
    near_dbm, far_dbm = sorted(set(heard.rssi_dbm), reverse=True)
    site = Propagation()
    assert near_dbm == round(mean_rssi_dbm(site, 0, 4.5))
    assert far_dbm == round(mean_rssi_dbm(site, 0, 7.5) - 9)


def test_codes_change_by_each_jacks_own_clock_and_belong_to_one_car() -> None:
    place = scenario(**(STILL | {"jacks": {"in_cars": 1.0, "code_life_s": 20, "clock_error_s": 3}}))
    day, air = listen(place)
    assert len(set(air.codes)) == len(air.codes) > len(day.cars)
    heard = air.lanes[0]
    last: dict[int, int] = {}
    changes = []
    for at_s, code in zip(heard.at_s, heard.codes, strict=True):
        car = air.owner[code]
        assert car is not None
        if last.get(car, code) != code:
            changes.append(at_s % 20)
        last[car] = code
    assert len({round(change, 1) for change in changes}) > 3


def test_packets_at_the_same_moment_cover_each_other_unless_one_is_far_stronger() -> None:
    crowd = [{"at_m": (0.0, 2.0), "columns": 1}, {"at_m": (-10.0, 40.0), "columns": 20, "rows": 9}]
    alone = standing((0.0, 2.0)).lanes[0]
    place = scenario(lane(arrivals_s=0, empty_questions_s=5.0), **(STILL | {"parked": crowd}))
    near, far = 0, 0
    air = listen(place)[1]
    for code in air.lanes[0].codes:
        near += air.owner[code] == 0
        far += air.owner[code] != 0
    assert near == len(alone.codes)  # 24 dB above the others
    assert far < 0.8 * 179 * near


def test_an_attacker_sends_the_code_of_the_nearest_jack_a_moment_later() -> None:
    thief = {"at_m": [0.0, 30.0], "tx_power_dbm": 20, "listens_m": [0.0, 2.0], "delay_s": 0.5}
    plain = standing((0.0, 2.0))
    robbed = standing((0.0, 2.0), attackers=[thief])
    assert robbed.replayed == {0} != plain.replayed
    assert robbed.owner == [0]
    assert len(robbed.lanes[0].codes) > 1.8 * len(plain.lanes[0].codes)
    far = standing((0.0, 2.0), attackers=[{"at_m": [0.0, 3.0], "tx_power_dbm": 0}])
    assert None in far.owner


def test_marked_places_are_heard_as_they_lie() -> None:
    place = scenario(lane(), lane("Lane 2", 6.0), **STILL)
    levels = {
        (reading.place, reading.here): reading.level_dbm
        for reading in hearing.marked_places(place, 0, 1)
    }
    assert levels["stop", True] == pytest.approx(mean_rssi_dbm(Propagation(), 0, 1.5), abs=0.5)
    assert levels["Lane 2", False] == pytest.approx(mean_rssi_dbm(Propagation(), 0, 7.5), abs=0.5)
    assert levels["next in line", False] < levels["a step back", True] <= levels["stop", True]

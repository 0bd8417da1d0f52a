"""The floor that the radio sets: closed forms against counted events."""

from __future__ import annotations

import random
import statistics

import pytest

from fieldkit import propagation
from fieldkit.bench.radio_floor import Broadcasting, air_time_us, delivered
from fieldkit.propagation import Propagation


def test_without_loss_the_first_event_is_heard_at_once() -> None:
    lane = Broadcasting(20, 1.0)
    assert lane.mean_wait_ms == 0
    assert lane.wait_ms(0.99) == 0
    assert lane.mean_wait_from_anywhere_ms == 12.5


def test_the_mean_wait_is_that_of_counted_losses() -> None:
    dice, lane = random.Random(1), Broadcasting(20, 0.6)

    def events_lost() -> int:
        lost = 0
        while dice.random() >= lane.delivered:
            lost += 1
        return lost

    counted_ms = [events_lost() * lane.spacing_ms for _ in range(20_000)]
    assert lane.mean_wait_ms == pytest.approx(statistics.fmean(counted_ms), rel=0.05)
    assert sum(wait <= lane.wait_ms(0.9) for wait in counted_ms) / len(counted_ms) >= 0.9


@pytest.mark.parametrize(
    ("delivered_share", "share", "spacings"),
    [(0.95, 0.5, 0), (0.95, 0.9, 0), (0.95, 0.99, 1), (0.5, 0.5, 0), (0.5, 0.9, 3)],
)
def test_a_quantile_is_a_whole_number_of_spacings(
    delivered_share: float, share: float, spacings: int
) -> None:
    assert Broadcasting(20, delivered_share).wait_ms(share) == spacings * 25


def test_a_receiver_that_listens_half_the_time_hears_half() -> None:
    halved = Broadcasting(20, 0.9).with_duty(0.5)
    assert halved.delivered == pytest.approx(0.45)
    assert halved.interval_ms == 20


@pytest.mark.parametrize(("interval_ms", "share"), [(0, 1), (20, 0), (20, 1.1)])
def test_a_broadcast_that_is_never_heard_is_a_mistake(interval_ms: float, share: float) -> None:
    with pytest.raises(ValueError):
        Broadcasting(interval_ms, share)


@pytest.mark.parametrize("share", [-0.1, 1])
def test_no_wait_is_certain_to_be_enough(share: float) -> None:
    with pytest.raises(ValueError):
        Broadcasting(20, 0.95).wait_ms(share)


def test_air_time_is_eight_microseconds_a_byte() -> None:
    assert air_time_us(31) == 376
    assert air_time_us(0) == 128
    with pytest.raises(ValueError):
        air_time_us(32)


@pytest.mark.parametrize("distance_m", [2.5, 60.0])
def test_the_delivered_share_is_what_the_virtual_air_delivers(distance_m: float) -> None:
    site = Propagation(fading_sd_db=4, shadowing_sd_db=2, loss_probability=0.05)
    heard = [
        propagation.received_rssi_dbm(site, 7, "lane", "jack", number, 0, distance_m) is not None
        for number in range(4000)
    ]
    expected = delivered(site, 7, "lane", "jack", 0, distance_m)
    assert statistics.fmean(heard) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(("tx_power_dbm", "share"), [(0, 0.9), (-40, 0.0)])
def test_without_fading_the_level_alone_decides(tx_power_dbm: int, share: float) -> None:
    site = Propagation(fading_sd_db=0, shadowing_sd_db=0, loss_probability=0.1)
    assert delivered(site, 7, "lane", "jack", tx_power_dbm, 2.5) == pytest.approx(share)

"""The model of the air: laws of physics in the mean, reproducible in every packet."""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldkit.propagation import (
    ADVERTISING_DELAY_LIMIT_S,
    REPORTED_RSSI_DBM,
    Propagation,
    advertising_delay_s,
    mean_rssi_dbm,
    received_rssi_dbm,
    shadowing_db,
)

SITE = Propagation()
STILL = Propagation(shadowing_sd_db=0, fading_sd_db=0, loss_probability=0)
PACKETS = range(4000)


def rssi(site: Propagation, packet: int, distance_m: float = 3.0, seed: int = 1) -> int | None:
    return received_rssi_dbm(site, seed, "jack", "terminal", packet, 0, distance_m)


def heard(site: Propagation, distance_m: float = 3.0) -> list[int]:
    values = (rssi(site, packet, distance_m) for packet in PACKETS)
    return [value for value in values if value is not None]


def test_a_metre_costs_the_reference_loss_and_each_decade_ten_times_the_exponent() -> None:
    assert mean_rssi_dbm(SITE, 0, 1) == -59
    assert mean_rssi_dbm(SITE, 0, 10) == -79
    assert mean_rssi_dbm(SITE, 4, 10) == -75
    assert mean_rssi_dbm(replace(SITE, path_loss_exponent=3), 0, 10) == -89


@given(st.floats(0, 1e5), st.floats(0, 1e5))
def test_farther_is_never_stronger(one_m: float, other_m: float) -> None:
    near_m, far_m = sorted((one_m, other_m))
    assert mean_rssi_dbm(SITE, 0, near_m) >= mean_rssi_dbm(SITE, 0, far_m)


@given(
    st.integers(),
    st.text(),
    st.text(),
    st.integers(min_value=0),
    st.floats(-127, 20),
    st.floats(0, 1e6),
)
def test_what_is_heard_is_above_the_noise_and_can_be_reported(
    seed: int, sender: str, receiver: str, packet: int, tx_power_dbm: float, distance_m: float
) -> None:
    value = received_rssi_dbm(SITE, seed, sender, receiver, packet, tx_power_dbm, distance_m)
    weakest, strongest = REPORTED_RSSI_DBM
    assert value is None or max(weakest, SITE.sensitivity_dbm) <= value <= strongest


def test_packets_fade_around_the_mean_of_their_link_as_asked() -> None:
    site = replace(SITE, shadowing_sd_db=0, loss_probability=0)
    values = heard(site, distance_m=1)
    assert statistics.mean(values) == pytest.approx(-59, abs=0.3)
    assert statistics.stdev(values) == pytest.approx(5, abs=0.3)


def test_shadowing_is_static_mutual_and_spread_over_links_as_asked() -> None:
    assert shadowing_db(SITE, 1, "jack", "terminal") == shadowing_db(SITE, 1, "terminal", "jack")
    assert shadowing_db(SITE, 1, "jack", "terminal") != shadowing_db(SITE, 2, "jack", "terminal")
    links = [shadowing_db(SITE, 1, f"car {number}", "terminal") for number in PACKETS]
    assert statistics.mean(links) == pytest.approx(0, abs=0.2)
    assert statistics.stdev(links) == pytest.approx(3, abs=0.2)


def test_the_asked_share_of_packets_is_lost() -> None:
    site = replace(STILL, loss_probability=0.25)
    assert len(heard(site)) / len(PACKETS) == pytest.approx(0.75, abs=0.03)
    assert len(heard(replace(STILL, loss_probability=0))) == len(PACKETS)
    assert heard(replace(STILL, loss_probability=1)) == []


def test_packets_below_the_sensitivity_are_lost() -> None:
    edge_m = 10 ** ((95 - 59) / 20)
    assert rssi(STILL, 0, edge_m * 0.99) == -95
    assert rssi(STILL, 0, edge_m * 1.01) is None
    assert heard(replace(SITE, loss_probability=0), distance_m=1000) == []


def test_the_same_seed_decides_the_same_whatever_was_computed_before() -> None:
    forwards = [rssi(SITE, packet) for packet in PACKETS]
    backwards = [rssi(SITE, packet) for packet in reversed(PACKETS)]
    assert forwards == backwards[::-1]
    assert forwards != [rssi(SITE, packet, seed=2) for packet in PACKETS]


def test_what_a_seed_decides_does_not_change_between_versions() -> None:
    # Recorded from this code: a recorded trial must replay the same after an upgrade.
    assert [rssi(SITE, packet) for packet in range(9)] == RECORDED


RECORDED = [-66, -66, -80, -73, -62, -70, -70, -64, None]


def test_links_and_packets_do_not_share_their_luck() -> None:
    names = ("a", "b", "ab")
    links = itertools.permutations(names, 2)
    series = [
        tuple(received_rssi_dbm(SITE, 1, one, other, packet, 0, 3) for packet in range(20))
        for one, other in links
    ]
    assert len(set(series)) == len(series)


def test_the_advertising_delay_fills_its_range_and_no_more() -> None:
    delays = [advertising_delay_s(1, "jack", packet) for packet in PACKETS]
    assert 0 < min(delays) < 0.0005
    assert 0.0095 < max(delays) < ADVERTISING_DELAY_LIMIT_S
    assert statistics.mean(delays) == pytest.approx(ADVERTISING_DELAY_LIMIT_S / 2, rel=0.05)
    assert delays == [advertising_delay_s(1, "jack", packet) for packet in PACKETS]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("loss_at_1m_db", math.nan),
        ("path_loss_exponent", -0.1),
        ("shadowing_sd_db", -1.0),
        ("fading_sd_db", math.inf),
        ("sensitivity_dbm", -math.inf),
        ("loss_probability", 1.01),
        ("loss_probability", -0.01),
    ],
)
def test_a_site_without_physical_meaning_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        Propagation(**{field: value})

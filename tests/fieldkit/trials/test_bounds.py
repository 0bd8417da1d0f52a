"""Bounds on true time from orders."""

from __future__ import annotations

import math

import pytest

from fieldkit.trials.bounds import UNKNOWN, Bounds, ClockId, ContradictionError, Order, Reading

SERVER = ClockId("server", "s")
LANE = ClockId("lane", "l")
CAR = ClockId("car", "c")
DRIFT_PPM = 100


def order(a: ClockId, a_ns: int, b: ClockId, b_ns: int, slack_ns: int = 0) -> Order:
    return Order(Reading(a, a_ns), Reading(b, b_ns), f"{a.machine} {a_ns}", slack_ns)


def test_the_reference_is_the_truth() -> None:
    bounds = Bounds(SERVER, [], DRIFT_PPM)
    assert bounds.at(SERVER, 17).middle_ns == 17
    assert bounds.at(SERVER, 17).half_width_ns == 0


def test_there_and_back_bound_a_clock_from_both_sides() -> None:
    orders = [order(SERVER, 1_000, LANE, 50_000), order(LANE, 50_000, SERVER, 1_400)]
    found = Bounds(SERVER, orders, DRIFT_PPM).at(LANE, 50_000)
    assert (found.earliest_ns, found.latest_ns) == (1_000, 1_400)
    assert found.middle_ns == 1_200


def test_one_way_is_no_bound_on_the_other_side() -> None:
    found = Bounds(SERVER, [order(SERVER, 1_000, LANE, 50_000)], DRIFT_PPM).at(LANE, 50_000)
    assert (found.earliest_ns, found.latest_ns) == (1_000, math.inf)
    assert not found.bounded


def test_uncertainty_grows_with_the_allowed_drift() -> None:
    orders = [order(SERVER, 0, LANE, 0), order(LANE, 0, SERVER, 0)]
    bounds = Bounds(SERVER, orders, DRIFT_PPM)
    for at_ns in (10_000_000, -10_000_000):
        found = bounds.at(LANE, at_ns)
        assert (found.earliest_ns, found.latest_ns) == (at_ns - 1_000, at_ns + 1_000)


def test_between_two_meetings_both_count() -> None:
    orders = [
        order(SERVER, 0, LANE, 0),
        order(LANE, 0, SERVER, 0),
        order(SERVER, 10_000_000, LANE, 10_000_000),
        order(LANE, 10_000_000, SERVER, 10_000_000),
    ]
    found = Bounds(SERVER, orders, DRIFT_PPM).at(LANE, 4_000_000)
    assert (found.earliest_ns, found.latest_ns) == (3_999_600, 4_000_400)


def test_bounds_travel_over_a_third_clock() -> None:
    orders = [
        order(SERVER, 1_000, LANE, 0),
        order(LANE, 0, CAR, 700),
        order(CAR, 700, LANE, 100),
        order(LANE, 100, SERVER, 1_200),
    ]
    found = Bounds(SERVER, orders, 0).at(CAR, 700)
    assert (found.earliest_ns, found.latest_ns) == (1_000, 1_200)


def test_slack_lets_the_earlier_be_later() -> None:
    orders = [order(SERVER, 1_000, LANE, 0, 300), order(LANE, 0, SERVER, 1_000)]
    found = Bounds(SERVER, orders, 0).at(LANE, 0)
    assert (found.earliest_ns, found.latest_ns) == (700, 1_000)


def test_clocks_that_nobody_names_or_reaches_are_unknown() -> None:
    bounds = Bounds(SERVER, [order(LANE, 1, CAR, 2), order(CAR, 2, LANE, 3)], DRIFT_PPM)
    assert bounds.at(ClockId("other", "o"), 5) == UNKNOWN
    assert bounds.at(LANE, 1) == UNKNOWN


def test_what_cannot_be_is_told_with_its_orders() -> None:
    wrong = [order(SERVER, 2_000, LANE, 0), order(LANE, 0, SERVER, 1_500)]
    with pytest.raises(ContradictionError) as found:
        Bounds(SERVER, wrong, DRIFT_PPM)
    assert set(found.value.orders) == set(wrong)
    assert found.value.by_ns == 500


def test_a_contradiction_far_from_the_reference_is_found_once_it_matters() -> None:
    wrong = [order(LANE, 2_000, CAR, 0), order(CAR, 0, LANE, 1_500)]
    Bounds(SERVER, wrong, DRIFT_PPM)  # nothing is claimed of either clock
    with pytest.raises(ContradictionError) as found:
        Bounds(SERVER, [*wrong, order(LANE, 0, SERVER, 0)], DRIFT_PPM)
    assert set(found.value.orders) == set(wrong)

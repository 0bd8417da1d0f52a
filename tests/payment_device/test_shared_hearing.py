"""Lanes that tell each other what they hear decide together."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from payment_device.shared_hearing import FRESH_S, SharedHearing
from payment_device.sightings import (
    Absence,
    Ambiguity,
    Ambiguous,
    Choice,
    Chosen,
    LaneRules,
    Sightings,
)

A, B = (bytes([n] * 8) for n in (0xAA, 0xBB))
RULES = LaneRules()


def hearing(levels_dbm: Mapping[bytes, int], rules: LaneRules = RULES) -> Sightings:
    """A lane that has heard these jacks for three seconds."""
    sightings = Sightings(rules)
    for number in range(31):
        for code, rssi_dbm in levels_dbm.items():
            sightings.hear(code, rssi_dbm, number / 10)
    return sightings


def outcome(choice: Choice) -> object:
    if isinstance(choice, Chosen):
        return choice.jack.code
    return choice.reason


def together(here: Sightings, *others: Sightings) -> Choice:
    """What ``here`` chooses after the other lanes have told what they hear."""
    shared = SharedHearing()
    for number, other in enumerate(others):
        shared.take(str(number), other.told_to_neighbours(3.0), 3.0)
    return here.choose(3.0, shared.elsewhere(3.0))


def test_two_cars_side_by_side_are_told_apart_by_both_lanes() -> None:
    """Each lane hears its own car 9 dB better: too little for one of them, enough for both."""
    one, two = hearing({A: -60, B: -69}), hearing({A: -69, B: -60})
    assert outcome(one.choose(3.0)) is Ambiguity.EQUALLY_NEAR
    assert (outcome(together(one, two)), outcome(together(two, one))) == (A, B)


def test_a_louder_car_in_the_next_lane_does_not_win() -> None:
    """Its jack is heard best everywhere, but better at its own lane."""
    one, two = hearing({A: -68, B: -66}), hearing({A: -85, B: -55})
    assert outcome(together(one, two)) == A
    assert outcome(together(two, one)) == B


def test_the_neighbours_jack_is_not_chosen_for_a_car_without_one() -> None:
    one, two = hearing({B: -66}), hearing({B: -58})
    assert outcome(one.choose(3.0)) == B
    assert outcome(together(one, two)) is Absence.AT_ANOTHER_LANE


@pytest.mark.parametrize(("other_dbm", "expected"), [(-66, A), (-65, Ambiguity.BETWEEN_LANES)])
def test_a_jack_has_to_be_heard_better_here(other_dbm: int, expected: object) -> None:
    assert outcome(together(hearing({A: -60}), hearing({A: other_dbm}))) == expected


def test_only_the_best_of_the_others_counts() -> None:
    far, near = hearing({A: -90}), hearing({A: -62})
    for others in ((far, near), (near, far)):
        assert outcome(together(hearing({A: -60}), *others)) is Ambiguity.BETWEEN_LANES


def test_levels_are_told_above_each_lanes_own_threshold() -> None:
    deaf = LaneRules(min_rssi_dbm=-85.0)
    assert hearing({A: -80}, deaf).told_to_neighbours(3.0) == {A: 5.0}
    assert outcome(together(hearing({A: -68}), hearing({A: -72}, deaf))) is Absence.AT_ANOTHER_LANE


def test_what_is_quiet_or_was_told_long_ago_counts_for_nothing() -> None:
    assert hearing({A: -60}).told_to_neighbours(4.5) == {}
    shared = SharedHearing()
    shared.take("2", {A: 30.0}, 3.0)
    assert shared.elsewhere(3.0 + FRESH_S) == {A: 30.0}
    assert shared.elsewhere(3.1 + FRESH_S) == {}
    shared.take("2", {B: 1.0}, 5.0)
    assert shared.elsewhere(5.0) == {B: 1.0}


def test_who_is_by_far_the_loudest_here_stays_a_rival_wherever_else_it_is_heard() -> None:
    """A radio at the next lane, too far to be heard here, sends the code of the car at this one."""
    robbed = hearing({A: -55, B: -68})
    choice = robbed.choose(3.0, {A: 40.0, B: -5.0})
    assert isinstance(choice, Ambiguous)
    assert {jack.code for jack in choice.candidates} == {A, B}


def test_a_code_that_is_sent_twice_stays_a_rival_wherever_else_it_is_heard() -> None:
    """Somebody replays the jack of this lane at the next: that must not take it away from here."""
    here = hearing({A: -60, B: -61})
    for number in range(31):
        here.hear(A, -60, number / 10 + 3.03)
        here.hear(A, -60, number / 10 + 3.06)
        here.hear(B, -61, number / 10 + 3.05)
    choice = here.choose(6.1, {A: 30.0})
    assert isinstance(choice, Ambiguous)
    assert {jack.code for jack in choice.candidates} == {A, B}

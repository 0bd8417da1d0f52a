"""Counting outcomes."""

from __future__ import annotations

import pytest

from fieldkit.world.tally import Outcome, Tally, Truth, at_most


def test_outcomes_are_counted_by_truth() -> None:
    tally = Tally()
    tally.count(Truth.JACK, Outcome.RIGHT, 0.2, "")
    tally.count(Truth.JACK, Outcome.WRONG, 0.1, "")
    tally.count(Truth.JACK, Outcome.AMBIGUOUS, 1.5, "equally_near")
    tally.count(Truth.CAR_WITHOUT, Outcome.WRONG, 0.3, "")
    assert (tally.questions, tally.wrong, tally.asked(Truth.JACK)) == (4, 2, 3)
    assert tally.share(Outcome.WRONG) == 0.5
    assert tally.share(Outcome.WRONG, Truth.JACK) == pytest.approx(1 / 3)
    assert tally.share(Outcome.WRONG, Truth.NOBODY) == 0
    assert (dict(tally.reasons), tally.decided_s) == ({"equally_near": 1}, [0.2])


def test_tallies_add_up() -> None:
    one, other = Tally(), Tally()
    one.count(Truth.JACK, Outcome.RIGHT, 0.2, "")
    other.count(Truth.JACK, Outcome.RIGHT, 0.4, "")
    one.add(other)
    assert one.questions == 2
    assert one.decided_at(50) == pytest.approx(0.3)


def test_times_of_few_choices() -> None:
    tally = Tally()
    assert tally.decided_at(95) is None
    tally.count(Truth.JACK, Outcome.RIGHT, 0.7, "")
    assert tally.decided_at(95) == 0.7


@pytest.mark.parametrize(
    ("events", "trials", "expected"), [(0, 0, 1.0), (0, 1000, 0.0038), (5, 100, 0.1118)]
)
def test_the_upper_end_of_wilsons_interval(events: int, trials: int, expected: float) -> None:
    assert at_most(events, trials) == pytest.approx(expected, abs=0.0001)

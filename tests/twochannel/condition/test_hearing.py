"""What a radio hears, summed up by a clock that is turned by hand."""

from __future__ import annotations

import pytest

from twochannel.condition.hearing import Heard, Hearing


def test_nothing_was_heard() -> None:
    assert Hearing(100.0).summed(160.0) == Heard(0.0, None, 0, None, 60_000)


def test_adverts_are_counted_and_their_levels_compared() -> None:
    hearing = Hearing(0.0)
    for tenth in range(1, 601):
        hearing.heard(-60 - 8 * (tenth % 3), tenth / 10)
    assert hearing.summed(60.1) == Heard(10.0, 100, 3, 8, 100)
    assert (hearing.adverts, hearing.last_at_s) == (600, 60.0)


@pytest.mark.parametrize(
    ("heard_at_s", "blind_ms"),
    [((1, 2, 3, 60), 57_000), ((50, 60), 50_000), ((1, 2), 58_000)],
    ids=["between", "at the beginning", "at the end"],
)
def test_the_longest_silence(heard_at_s: tuple[float, ...], blind_ms: int) -> None:
    hearing = Hearing(0.0)
    for at_s in heard_at_s:
        hearing.heard(-60, at_s)
    assert hearing.summed(60.0).blind_ms == blind_ms


def test_each_sum_begins_anew_but_for_the_last_advert() -> None:
    hearing = Hearing(0.0)
    hearing.heard(-60, 10.0)
    hearing.summed(60.0)
    assert hearing.summed(90.0) == Heard(0.0, 80_000, 0, None, 30_000)


def test_a_level_that_the_controller_does_not_know_is_none() -> None:
    hearing = Hearing(0.0)
    hearing.heard(127, 1.0)
    hearing.heard(-70, 2.0)
    assert hearing.summed(3.0).rssi_levels == 1

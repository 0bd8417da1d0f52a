"""The two usual ways to decide."""

from __future__ import annotations

from fieldkit.world.baselines import Plain


def test_one_strong_advert_is_enough_for_the_last() -> None:
    plain = Plain(-75.0)
    for number in range(10):
        plain.hear(1, -60, number / 10)
        plain.hear(2, -70, number / 10)
    plain.hear(2, -55, 1.0)
    assert plain.strongest_last(1.0) == 2
    assert plain.strongest_average(1.0) == 1


def test_the_average_has_a_threshold_and_both_forget() -> None:
    plain = Plain(-75.0)
    plain.hear(1, -76, 0.0)
    assert (plain.strongest_last(0.5), plain.strongest_average(0.5)) == (1, None)
    assert (plain.strongest_last(1.1), plain.strongest_average(1.1)) == (None, None)
    plain.hear(1, -60, 2.0)
    assert plain.strongest_average(2.0) == 1

"""Slopes with their intervals, of leaks and of what only looks like one."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from fieldkit.soak.growth import WARM_UP_S, Run, Verdict, growth

HOUR_S = 3600.0
EVERY_S = 10.0
BOUND = 4.0


def run(value: Callable[[float], float], began_s: float = 0.0, lasts_s: float = 2 * HOUR_S) -> Run:
    """``value`` of the seconds since the start, looked at every ten."""
    times = [EVERY_S * n for n in range(int(lasts_s / EVERY_S))]
    return [(began_s + at_s, value(at_s)) for at_s in times]


def wandering(seed: int, per_hour: float = 0.0) -> Callable[[float], float]:
    """A level that wanders slowly, as neighbouring samples of a process do."""
    luck, levels = random.Random(seed), [80.0]

    def value(at_s: float) -> float:
        levels.append(80 + 0.95 * (levels[-1] - 80) + luck.gauss(0, 0.2))
        return levels[-1] + per_hour * at_s / HOUR_S

    return value


def level(value: float) -> Callable[[float], float]:
    return lambda _at_s: value


@pytest.mark.parametrize("seed", range(6))
def test_a_leak_is_certain_and_its_size_within_the_interval(seed: int) -> None:
    found = growth([run(wandering(seed, per_hour=9.0))], BOUND)
    assert found.verdict is Verdict.GROWS
    assert found.low is not None
    assert found.high is not None
    assert BOUND < found.low < found.high
    assert (found.low + found.high) / 2 == pytest.approx(9.0, abs=1.5)


@pytest.mark.parametrize("seed", range(6))
def test_what_wanders_about_one_level_is_steady(seed: int) -> None:
    assert growth([run(wandering(seed))], BOUND).verdict is Verdict.STEADY


def test_a_process_that_has_just_started_may_grow() -> None:
    assert growth([run(lambda at_s: 60 + min(at_s, WARM_UP_S) / 10)], BOUND).verdict is (
        Verdict.STEADY
    )


def test_starting_anew_is_no_shrinking_and_hides_no_leak() -> None:
    runs = [run(lambda at_s: 80 + 9 * at_s / HOUR_S, n * HOUR_S, HOUR_S) for n in range(3)]
    assert growth(runs, BOUND).verdict is Verdict.GROWS
    flat = [run(level(80.0 + 5 * n), n * HOUR_S, HOUR_S) for n in range(3)]
    assert growth(flat, BOUND).verdict is Verdict.STEADY


@pytest.mark.parametrize(
    "runs",
    [
        [],
        [[]],
        [run(wandering(1), lasts_s=WARM_UP_S)],
        [run(wandering(1), lasts_s=WARM_UP_S + 590)],
        [run(wandering(1), began_s=n * HOUR_S, lasts_s=WARM_UP_S) for n in range(50)],
    ],
)
def test_too_little_tells_nothing(runs: list[Run]) -> None:
    found = growth(runs, BOUND)
    assert found.verdict is Verdict.UNKNOWN
    assert found.to_json()["slope"] is None

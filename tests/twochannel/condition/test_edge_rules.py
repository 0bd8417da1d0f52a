"""What is worth a line: steps of the clock, and heat that changes."""

from __future__ import annotations

import pytest

from twochannel.condition.edge_rules import STEP_FROM_MS, ClockSteps, Heat

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
DAY_MS = 86_400_000


@pytest.mark.parametrize("by_ms", [STEP_FROM_MS, -STEP_FROM_MS, DAY_MS, -DAY_MS])
def test_a_clock_that_was_set_is_told_once(by_ms: int) -> None:
    steps = ClockSteps()
    told = []
    for second in range(5):
        set_ms = by_ms if second >= 2 else 0
        told.append(steps.by_ms(second * NS_PER_S + set_ms * NS_PER_MS, second * NS_PER_S))
    assert told == [None, None, by_ms, None, None]


def test_two_clocks_that_go_on_together_are_no_step_however_late_one_looks() -> None:
    steps = ClockSteps()
    times_ns = (0, NS_PER_S, 3600 * NS_PER_S, 3601 * NS_PER_S + 49 * NS_PER_MS)
    told = [steps.by_ms(1_700_000_000 * NS_PER_S + t, t) for t in times_ns]
    assert told == [None] * 4


def test_a_clock_that_creeps_is_no_step() -> None:
    steps = ClockSteps()
    crept = [steps.by_ms(s * NS_PER_S + s * 49 * NS_PER_MS, s * NS_PER_S) for s in range(100)]
    assert set(crept) == {None}


def told(*temperatures: float) -> list[float]:
    heat = Heat()
    return [celsius for celsius in temperatures if heat.changed(celsius, throttled=False)]


def test_heat_is_told_in_steps_from_sixty_degrees() -> None:
    assert told(20, 59.9, 60, 64.9, 65, 69, 81) == [60, 65, 81]


def test_on_the_way_down_it_is_told_two_degrees_later() -> None:
    assert told(66, 64, 63.1, 62.9, 60, 58.1, 57.9) == [66, 62.9, 57.9]


def test_at_the_edge_it_is_told_once() -> None:
    assert told(64.9, 65.1, 64.8, 65.2, 64.7, 65.0) == [64.9, 65.1]


def test_throttling_is_told_at_any_temperature() -> None:
    heat = Heat()
    states = [(40.0, False), (40.0, True), (40.0, True), (40.0, False)]
    assert [heat.changed(c, throttled=t) for c, t in states] == [False, True, False, True]

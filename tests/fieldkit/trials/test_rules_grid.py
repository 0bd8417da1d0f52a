"""Which rules are tried."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldkit.trials.rules_grid import BOUNDS, COARSE, STEPS, coarse, finer, steps_apart
from payment_device.config import TerminalSettings
from payment_device.sightings import LaneRules

USUAL = LaneRules(min_rssi_dbm=-71.5)


def test_the_usual_rules_come_first_and_nothing_comes_twice() -> None:
    grid = coarse(USUAL, COARSE)
    assert grid[0] == USUAL
    assert len(set(grid)) == len(grid) == 1 + 6 * 5 * 3 * 2 * 3


def test_what_is_not_tuned_stays() -> None:
    grid = coarse(USUAL, ["margin_db"])
    assert {replace(rules, margin_db=0) for rules in grid} == {replace(USUAL, margin_db=0)}


@given(
    st.builds(
        LaneRules,
        min_rssi_dbm=st.floats(-120, 0),
        margin_db=st.floats(0, 60),
        settle_samples=st.integers(1, 100),
        settle_s=st.floats(0, 0.9),
        home_margin_db=st.floats(0, 60),
    ),
    st.integers(1, 5),
)
def test_a_finer_grid_keeps_within_what_can_be_set(centre: LaneRules, halvings: int) -> None:
    for rules in finer(centre, COARSE, halvings):
        values = {name: getattr(rules, name) for name in BOUNDS}
        assert TerminalSettings(**values).rules == rules


def test_a_finer_grid_halves_the_steps() -> None:
    levels = {rules.margin_db for rules in finer(LaneRules(), ["margin_db"], 2)}
    assert levels == {11.25, 12.0, 12.75}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_of_the_coarse_grid_is_one_apart(name: str) -> None:
    moved = replace(USUAL, **{name: getattr(USUAL, name) + STEPS[name] / 2})
    assert steps_apart(USUAL, moved) == pytest.approx(0.5)
    assert set(STEPS) == set(COARSE) == set(asdict(USUAL)) - {"quiet_after_s"}

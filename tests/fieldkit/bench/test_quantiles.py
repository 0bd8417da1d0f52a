"""Medians, quantiles and shares."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldkit.bench.quantiles import Summary, quantile, ratio, shares, summary

_VALUES = st.lists(st.integers(-1000, 1000).map(float), min_size=2, max_size=50)


@given(_VALUES)
def test_a_quantile_is_that_of_the_standard_library(values: list[float]) -> None:
    tenths = statistics.quantiles(values, n=10, method="inclusive")
    assert [quantile(values, n / 10) for n in range(1, 10)] == pytest.approx(tenths)


@given(_VALUES)
def test_the_ends_are_the_least_and_the_most(values: list[float]) -> None:
    assert quantile(values, 0) == min(values)
    assert quantile(values, 1) == max(values)


def test_a_single_value_is_every_quantile() -> None:
    assert {quantile([4.5], share) for share in (0, 0.3, 0.5, 1)} == {4.5}


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], -0.1), ([1.0], 1.1)])
def test_what_has_no_quantile_is_a_mistake(values: list[float], share: float) -> None:
    with pytest.raises(ValueError):
        quantile(values, share)


def test_a_summary_does_not_depend_on_the_order() -> None:
    expected = Summary(count=5, least=1, median=3, p90=4.6, p95=4.8, most=5)
    assert summary([5, 1, 3, 2, 4]) == expected


def test_a_summary_of_nothing_has_no_figures() -> None:
    assert summary([]) == Summary(0, None, None, None, None, None)


def test_shares_are_those_of_all_time_and_add_up() -> None:
    assert shares({"a": [1, 2], "b": [6], "c": []}) == {"a": 0.333, "b": 0.667, "c": 0.0}


def test_shares_of_no_time_are_zero() -> None:
    assert shares({"a": [], "b": [0.0]}) == {"a": 0.0, "b": 0.0}


def test_a_ratio_needs_a_floor() -> None:
    assert ratio(3.0, 1.5) == 2.0
    assert ratio(3.0, 0.0) is None

"""What fuel costs, to the last minor unit, and when a fuelling is over."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_device.fuel import Fuelling, Kind, Phase, Price, Reading, is_over, most_without_limit
from twochannel.protocol.errors import StatementError
from twochannel.protocol.limits import MAX_AMOUNT_MINOR

EUR = Price.parse("1.799 EUR")
prices = st.builds(
    Price,
    st.decimals("0.001", "9999", places=3, allow_nan=False),
    st.sampled_from(["EUR", "KRW", "KWD"]),
)


@pytest.mark.parametrize(
    ("price", "volume_ml", "cost_minor"),
    [
        ("1.799 EUR", 23_441, 4217),
        ("1.799 EUR", 1000, 180),
        ("1.795 EUR", 1000, 180),
        ("1.794 EUR", 1000, 179),
        ("1.799 EUR", 2, 0),
        ("1650 KRW", 30_303, 50_000),
        ("0.105 KWD", 10_000, 1050),
    ],
)
def test_a_volume_costs(price: str, volume_ml: int, cost_minor: int) -> None:
    assert Price.parse(price).cost_minor(volume_ml) == cost_minor


@given(prices, st.integers(1, MAX_AMOUNT_MINOR))
def test_the_most_that_is_given_costs_no_more_than_was_agreed(price: Price, most: int) -> None:
    limit_ml = price.most_ml(most)
    assert price.cost_minor(limit_ml) <= most < price.cost_minor(limit_ml + 1)


@pytest.mark.parametrize(
    "text", ["", "1.799", "EUR 1.799", "0 EUR", "-1 EUR", "1.799 EUX", "1,8 EUR"]
)
def test_a_price_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(StatementError):
        Price.parse(text)


def test_a_price_is_written_as_it_was_read() -> None:
    assert str(EUR) == "1.799 EUR"
    assert Price.parse(str(EUR)) == Price(Decimal("1.799"), "EUR")


def test_without_a_hold_it_ends_at_the_size_of_a_tank() -> None:
    assert most_without_limit(EUR, 150) == 26_985
    assert most_without_limit(Price(Decimal(9_999_999), "KWD"), 150) == MAX_AMOUNT_MINOR


OPEN = Fuelling(
    "f", Kind.PREPAY, "r", EUR, 8000, Phase.OPEN, start_ml=500, limit_ml=1000, opened_s=100
)


@pytest.mark.parametrize(
    ("total_ml", "lifted", "now_s", "over"),
    [
        (500, False, 100, False),
        (500, True, 1000, False),
        (500, False, 159, False),
        (500, False, 160, True),
        (900, True, 1000, False),
        (900, False, 101, True),
        (1500, True, 101, True),
        (1510, True, 101, True),
    ],
)
def test_a_fuelling_is_over(total_ml: int, lifted: bool, now_s: int, over: bool) -> None:
    reading = Reading(total_ml, lifted, released=True)
    assert is_over(OPEN, reading, now_s, patience_s=60) is over


@given(st.integers(0, 10**7))
def test_nobody_pays_more_than_they_agreed_to(pumped_ml: int) -> None:
    assert replace(OPEN, pumped_ml=pumped_ml).cost_minor <= 8000


def test_asked_again_it_is_another_payment() -> None:
    assert OPEN.charge_reference == "r"
    assert replace(OPEN, attempt=2).charge_reference == "r.2"

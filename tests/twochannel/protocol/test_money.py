"""Money: integers of minor units, known currencies, no guessing."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from twochannel.protocol import money
from twochannel.protocol.errors import CodedError, ErrorCode, StatementError
from twochannel.protocol.limits import MAX_AMOUNT_MINOR
from twochannel.protocol.money import DECIMALS, Amount, format_minor, parse_amount

_currencies = st.sampled_from(sorted(DECIMALS))


@pytest.mark.parametrize(
    ("text", "currency", "value"),
    [
        ("4.50", "EUR", 450),
        ("4.5", "EUR", 450),
        ("4", "EUR", 400),
        ("0.01", "EUR", 1),
        ("500", "KRW", 500),
        ("1.234", "KWD", 1234),
        ("1.2", "BHD", 1200),
        ("007", "JPY", 7),
        ("10000000000.00", "EUR", MAX_AMOUNT_MINOR),
    ],
)
def test_amounts_as_people_type_them(text: str, currency: str, value: int) -> None:
    assert parse_amount(text, currency) == Amount(value=value, currency=currency)


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("4.505", "EUR"),
        ("4,50", "EUR"),
        ("1.5", "KRW"),
        ("5.", "EUR"),
        (".5", "EUR"),
        ("-1", "EUR"),
        ("+1", "EUR"),
        ("1e3", "EUR"),
        ("0", "EUR"),
        ("0.00", "EUR"),
        ("", "EUR"),
        (" 1", "EUR"),
        ("1\n", "EUR"),
        ("٣", "EUR"),
        ("10000000000.01", "EUR"),
        ("9" * 40, "EUR"),
    ],
)
def test_what_is_not_an_amount_is_refused(text: str, currency: str) -> None:
    with pytest.raises(StatementError) as refusal:
        parse_amount(text, currency)
    assert refusal.value.code is ErrorCode.CLAIM_INVALID


@pytest.mark.parametrize(
    ("currency", "told"),
    [
        ("EUR", "an amount in EUR is a number with at most 2 decimals, such as 4.50"),
        ("KRW", "an amount in KRW is a whole number, such as 450"),
        ("KWD", "an amount in KWD is a number with at most 3 decimals, such as 4.500"),
    ],
)
def test_a_refusal_shows_how_it_is_written(currency: str, told: str) -> None:
    with pytest.raises(StatementError) as refusal:
        parse_amount("4,5", currency)
    assert refusal.value.detail == told
    assert parse_amount(told.split()[-1], currency).value > 0


@pytest.mark.parametrize("currency", ["", "eur", "EURO", "XXX", "ZZZ", "€"])
def test_unknown_currencies_are_refused_everywhere(currency: str) -> None:
    for attempt in (
        lambda: parse_amount("1", currency),
        lambda: format_minor(1, currency),
        lambda: Amount(value=1, currency=currency),
    ):
        with pytest.raises(CodedError) as refusal:
            attempt()
        assert refusal.value.code is ErrorCode.CURRENCY_UNKNOWN


@given(st.integers(1, MAX_AMOUNT_MINOR), _currencies)
def test_what_is_shown_can_be_typed(value: int, currency: str) -> None:
    assert parse_amount(format_minor(value, currency), currency).value == value


@given(st.integers(-MAX_AMOUNT_MINOR, MAX_AMOUNT_MINOR), _currencies)
def test_the_text_is_the_exact_decimal(value: int, currency: str) -> None:
    shown = Decimal(format_minor(value, currency))
    assert shown == Decimal(value).scaleb(-DECIMALS[currency])


def test_an_amount_speaks_for_itself() -> None:
    assert str(Amount(value=8000, currency="EUR")) == "80.00 EUR"
    assert str(Amount(value=5, currency="JPY")) == "5 JPY"


@pytest.mark.parametrize("value", [0, -1, True, 1.0, "1", None, MAX_AMOUNT_MINOR + 1])
def test_amounts_are_positive_integers(value: object) -> None:
    with pytest.raises(ValidationError):
        Amount.model_validate({"value": value, "currency": "EUR"})


def test_each_currency_stands_in_one_list() -> None:
    lists = (money._NO_DECIMALS, money._TWO_DECIMALS, money._THREE_DECIMALS)
    assert sum(len(codes.split()) for codes in lists) == len(DECIMALS)
    assert {"EUR": 2, "KRW": 0, "KWD": 3}.items() <= DECIMALS.items()

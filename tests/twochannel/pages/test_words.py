"""Amounts and texts by language."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twochannel.pages.words import LANGUAGES, choose, words
from twochannel.protocol.errors import StatementError
from twochannel.protocol.limits import MAX_AMOUNT_MINOR
from twochannel.protocol.money import DECIMALS, Amount


@pytest.mark.parametrize(
    ("language", "value_minor", "currency", "text"),
    [
        ("en", 450, "EUR", "€4.50"),
        ("en", 1234567, "USD", "$12,345.67"),
        ("en", 12500, "KRW", "₩12,500"),
        ("en", 1, "JPY", "¥1"),
        ("en", 1250, "KWD", "KWD\N{NO-BREAK SPACE}1.250"),
        # The decimals of ISO 4217, though the language's own data round these to none.
        ("en", 1005, "IQD", "IQD\N{NO-BREAK SPACE}1.005"),
        ("en", 150, "IRR", "IRR\N{NO-BREAK SPACE}1.50"),
        ("en", 5, "EUR", "€0.05"),
        ("ko", 12500, "KRW", "₩12,500"),
        ("ko", 450, "USD", "US$4.50"),
        ("ko", 1250, "KWD", "KWD\N{NO-BREAK SPACE}1.250"),
    ],
)
def test_amounts(language: str, value_minor: int, currency: str, text: str) -> None:
    assert words(language).money(value_minor, currency) == text


@given(
    st.sampled_from(sorted(LANGUAGES)),
    st.integers(0, MAX_AMOUNT_MINOR),
    st.sampled_from(sorted(DECIMALS)),
)
def test_no_digit_of_an_amount_is_lost(language: str, value_minor: int, currency: str) -> None:
    text = words(language).money(value_minor, currency)
    assert int("".join(c for c in text if c.isdigit())) == value_minor
    # From the first digit on: a symbol may have a point of its own ("Cg.").
    _, point, fraction = re.sub(r"^\D+", "", text).partition(".")
    assert len(fraction) == DECIMALS[currency]
    assert bool(point) == bool(DECIMALS[currency])


@pytest.mark.parametrize(
    ("text", "currency", "value_minor"),
    [
        ("4.50", "EUR", 450),
        (" 4.5 ", "EUR", 450),
        ("1,234.50", "EUR", 123450),
        ("12,500", "KRW", 12500),
        ("12500", "KRW", 12500),
        ("1.250", "KWD", 1250),
        ("1,234,567.001", "KWD", 1234567001),
    ],
)
def test_amounts_are_read_as_they_are_typed(text: str, currency: str, value_minor: int) -> None:
    for language in LANGUAGES:
        assert words(language).read_amount(text, currency) == Amount(
            value=value_minor, currency=currency
        )


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("", "EUR"),
        ("0", "EUR"),
        ("0.00", "EUR"),
        # Somebody meant one and a half; fifteen would be wrong, and so would be one.
        ("1,5", "EUR"),
        ("1,50", "EUR"),
        ("1.234,50", "EUR"),
        ("1,2345", "KRW"),
        ("4.505", "EUR"),
        ("4.5", "KRW"),
        ("-4", "EUR"),
        ("€4", "EUR"),
        ("4..5", "EUR"),
        ("4.", "EUR"),
        ("1e3", "EUR"),
        ("٤", "EUR"),
        ("9" * 30, "KRW"),
    ],
)
def test_an_amount_is_never_guessed(text: str, currency: str) -> None:
    for language in LANGUAGES:
        with pytest.raises(StatementError):
            words(language).read_amount(text, currency)


@given(
    st.sampled_from(sorted(LANGUAGES)),
    st.integers(1, MAX_AMOUNT_MINOR),
    st.sampled_from(sorted(DECIMALS)),
)
def test_what_is_written_is_read_again(language: str, value_minor: int, currency: str) -> None:
    shown = re.search(r"[0-9][0-9,.]*", words(language).money(value_minor, currency))
    assert shown
    read = words(language).read_amount(shown[0], currency)
    assert read == Amount(value=value_minor, currency=currency)


@pytest.mark.parametrize(
    ("kept", "accepted", "language"),
    [
        (None, "", "en"),
        (None, "ko-KR,ko;q=0.9,en;q=0.8", "ko"),
        (None, "de-DE,de;q=0.9", "en"),
        (None, "de, ko;q=0.5", "ko"),
        ("ko", "en", "ko"),
        ("../../etc/passwd", "en", "en"),
        (None, ",;q=,%%," * 1000, "en"),
    ],
)
def test_the_reader_s_language(kept: str | None, accepted: str, language: str) -> None:
    assert choose(kept, accepted).language == language


def test_values_stand_in_texts_in_both_languages() -> None:
    asked = ("{merchant} asks for {amount}. Answer now", "Cafe {x}", "€4.50")
    for language in LANGUAGES:
        text = words(language).say(asked[0], merchant=asked[1], amount=asked[2])
        assert "Cafe {x}" in text
        assert "€4.50" in text


def test_counts() -> None:
    forms = ("{number} more request waits", "{number} more requests wait")
    assert words("en").count(*forms, 1) == "1 more request waits"
    assert words("en").count(*forms, 2) == "2 more requests wait"
    assert words("ko").count(*forms, 2) == "요청 2건이 더 기다리고 있습니다"

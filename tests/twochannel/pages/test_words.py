"""Amounts and texts by language."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twochannel.pages.words import LANGUAGES, choose, words
from twochannel.protocol.limits import MAX_AMOUNT_MINOR
from twochannel.protocol.money import DECIMALS


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

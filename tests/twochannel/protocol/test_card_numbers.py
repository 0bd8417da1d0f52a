"""What looks like a card's number: its check digit decides, in whatever groups it is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twochannel.protocol.card_numbers import MAX_DIGITS, MIN_DIGITS, holds_card_number

#: Numbers for tests that the schemes and Stripe have published; the last is Maestro's shortest.
PUBLISHED = (
    "4242424242424242",
    "5555555555554444",
    "378282246310005",
    "6011111111111117",
    "30569309025904",
    "3566002020360505",
    "6205500000000000004",
    "4222222222222",
    "501800000009",
)
DIGITS = "0123456789"
_NUMBERS = st.text(DIGITS, min_size=MIN_DIGITS - 1, max_size=MAX_DIGITS - 1).map(
    lambda start: next(start + last for last in DIGITS if holds_card_number(start + last))
)
_MARKS = st.sampled_from([" ", "-", ".", "/", "_", "  ", " - ", "\u00a0", "\u2013"])


def grouped(number: str, mark: str, size: int) -> str:
    return mark.join(number[at : at + size] for at in range(0, len(number), size))


@pytest.mark.parametrize("number", PUBLISHED)
def test_published_numbers_are_found(number: str) -> None:
    assert holds_card_number(number)


@given(st.text(DIGITS, min_size=MIN_DIGITS - 1, max_size=MAX_DIGITS - 1))
def test_one_last_digit_in_ten_makes_it_a_number(start: str) -> None:
    assert sum(holds_card_number(start + last) for last in DIGITS) == 1


@given(_NUMBERS, st.integers(min_value=0), st.integers(1, 9))
def test_a_number_with_one_digit_wrong_is_none(number: str, place: int, more: int) -> None:
    at = place % len(number)
    wrong = str((int(number[at]) + more) % 10)
    assert not holds_card_number(number[:at] + wrong + number[at + 1 :])


@given(
    _NUMBERS, _MARKS, st.integers(1, 6), st.sampled_from(["", "Visa", "Visa ", "pm_", "Karte: "])
)
def test_groups_and_words_around_it_hide_nothing(
    number: str, mark: str, size: int, word: str
) -> None:
    assert holds_card_number(word + grouped(number, mark, size) + word[::-1])


@given(_NUMBERS)
def test_numbers_before_and_after_it_hide_nothing(number: str) -> None:
    assert holds_card_number(f"2. {number}, 11/29")


@given(_NUMBERS, st.sampled_from(["\u0660", "\uff10", "\u0966"]))
def test_digits_of_other_scripts_hide_nothing(number: str, zero: str) -> None:
    assert holds_card_number("".join(chr(ord(zero) + int(digit)) for digit in number))


@given(st.text(DIGITS + " -", max_size=64))
def test_fewer_digits_are_none(text: str) -> None:
    digits = [character for character in text if character in DIGITS]
    assert len(digits) >= MIN_DIGITS or not holds_card_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tok_success",
        "tok_lost_answer",
        "pm_1NG8Du2eZvKYlo2CUI79vXWy",
        "Visa, ends in 4242",
        "Card of 2026-11-27",
        "42424242424a42424242",
        "42424242424242424242",
    ],
)
def test_what_people_and_processors_write_is_none(text: str) -> None:
    assert not holds_card_number(text)


@given(st.text(max_size=64))
def test_any_text_is_answered(text: str) -> None:
    assert holds_card_number(text) in (True, False)

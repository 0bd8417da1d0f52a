"""Receipts for people, in their language: lines of text for a till's printer."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, Final

from payment_device.attendants_view import PaymentView, payment_shown
from twochannel.pages.words import Words

#: Columns of the usual 80 mm roll in its usual letters.
WIDTH: Final = 42


def receipt_text(told: Mapping[str, Any], merchant: str, words: Words, width: int = WIDTH) -> str:
    """``told``: the payment as a till is told (``answers.view``). Ends with a line break."""
    payment = payment_shown(told)
    lines = [
        _centred(merchant, width),
        _centred(payment.lane, width),
        "-" * width,
        *_row(
            words.say(payment.outcome), words.money(payment.value_minor, payment.currency), width
        ),
        *_amounts(payment, words, width),
        "-" * width,
    ]
    facts = {
        "For": payment.description,
        "Reference": payment.reference,
        "Match code": payment.match_code,
        "Asked": words.moment(payment.asked_ms),
        "Payment": payment.id,
    }
    for label, value in facts.items():
        if value:
            lines += _row(words.say(label), value, width)
    return "\n".join(lines) + "\n"


def _amounts(payment: PaymentView, words: Words, width: int) -> Iterator[str]:
    """What was held and released, and what was given back, refund by refund."""
    amounts = {}
    if payment.is_hold:
        amounts["At most"] = payment.asked_minor
        amounts["Held"] = payment.held_minor
        if payment.captured_minor:
            amounts["Released"] = payment.held_minor - payment.captured_minor
    if payment.refunded_minor:
        amounts["Given back"] = payment.refunded_minor
    for label, value_minor in amounts.items():
        yield from _row(words.say(label), words.money(value_minor, payment.currency), width)


def _row(label: str, value: str, width: int) -> list[str]:
    """The label to the left and the value to the right, on two lines if one is too short."""
    space = width - _columns(label) - _columns(value)
    if space >= 1:
        return [label + " " * space + value]
    return [label, " " * max(0, width - _columns(value)) + value]


def _centred(text: str, width: int) -> str:
    return " " * max(0, (width - _columns(text)) // 2) + text


def _columns(text: str) -> int:
    """How many columns a printer or terminal takes: letters of the East take two."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide

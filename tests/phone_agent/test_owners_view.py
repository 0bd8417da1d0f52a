"""What an owner reads about a payment."""

from __future__ import annotations

import pytest

from phone_agent.consent import Answer, Reason
from phone_agent.owners_view import (
    NOBODY_ANSWERED,
    NOT_TAKEN,
    OTHER_PHONE,
    OUTCOMES,
    SENDING,
    payment_shown,
)
from twochannel.protocol.payment import Status
from twochannel.protocol.statements import DecidedBy, Decision

YES = Answer(Decision.APPROVE, DecidedBy.OWNER, Reason.OWNER_ANSWERED)
NO = Answer(Decision.DECLINE, DecidedBy.OWNER, Reason.OWNER_ANSWERED)
LATE = Answer(Decision.DECLINE, DecidedBy.TIMEOUT, Reason.OWNER_SILENT)
SHOWN = {"status": "pending", "amount": {"value": 8000, "currency": "EUR"}, "capture": "manual"}


@pytest.mark.parametrize(
    ("status", "answer", "closed", "outcome"),
    [
        (Status.PENDING, None, None, "Waiting for an answer"),
        (Status.PENDING, YES, None, SENDING),
        (Status.PENDING, NO, None, SENDING),
        (Status.PENDING, NO, "answered", "Declined"),
        (Status.PENDING, LATE, None, NOBODY_ANSWERED),
        (Status.DECLINED, LATE, "answered", NOBODY_ANSWERED),
        (Status.DECLINED, NO, "answered", "Declined"),
        (Status.CAPTURED, YES, "answered", "Paid"),
        (Status.EXPIRED, YES, "refused: payment_expired", NOT_TAKEN),
        (Status.EXPIRED, None, "expired", "Too late, nothing was paid"),
        (Status.CAPTURED, YES, "refused: settled_by_other_phone", OTHER_PHONE),
        (Status.CAPTURED, None, "captured", OTHER_PHONE),
        (Status.DECLINED, None, "declined", OTHER_PHONE),
        (Status.CAPTURED, LATE, "answered", OTHER_PHONE),
    ],
)
def test_outcomes(status: Status, answer: Answer | None, closed: str | None, outcome: str) -> None:
    shown = SHOWN | {"status": status.value}
    assert payment_shown("id", shown, answer, received_ms=1, closed=closed).outcome == outcome


def test_there_is_a_word_for_every_status() -> None:
    assert OUTCOMES.keys() == set(Status)


def test_the_sum_is_what_was_taken_in_the_end() -> None:
    view = payment_shown("id", SHOWN, None, received_ms=1, closed=None)
    assert (view.value_minor, view.is_maximum) == (8000, True)
    shown = SHOWN | {"status": "captured", "captured_minor": 4217, "authorized_minor": 8000}
    view = payment_shown("id", shown, YES, received_ms=1, closed="answered")
    assert (view.value_minor, view.asked_minor, view.authorized_minor) == (4217, 8000, 8000)
    assert view.by == "You"

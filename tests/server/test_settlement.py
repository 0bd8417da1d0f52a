"""What an event means for the amounts of a payment, and which statement caused it."""

from __future__ import annotations

import pytest

from server.settlement import (
    Ended,
    Figures,
    answerable,
    causes,
    check_held,
    check_hold_lasts,
    has_receipt,
)
from twochannel.protocol.errors import ErrorCode, PaymentError
from twochannel.protocol.payment import FINAL, TRANSITIONS, Event, Status
from twochannel.protocol.statements import Cancel, Receipt

ASKED = Figures(8000)
HELD = Figures(8000, 8000)


@pytest.mark.parametrize(
    ("before", "status", "event", "amount_minor", "after"),
    [
        (ASKED, Status.CONFIRMED, Event.CAPTURE, None, Figures(8000, 8000, 8000)),
        (ASKED, Status.CONFIRMED, Event.CAPTURE, 7000, Figures(8000, 7000, 7000)),
        (ASKED, Status.UNKNOWN, Event.AUTHORIZE, None, HELD),
        (HELD, Status.AUTHORIZED, Event.CAPTURE, 4217, Figures(8000, 8000, 4217)),
        (HELD, Status.AUTHORIZED, Event.CAPTURE, None, Figures(8000, 8000, 8000)),
        (HELD, Status.AUTHORIZED, Event.VOID, None, HELD),
        (ASKED, Status.CONFIRMED, Event.REFUSE, None, ASKED),
        (ASKED, Status.PENDING, Event.EXPIRE, None, ASKED),
    ],
)
def test_amounts(
    before: Figures, status: Status, event: Event, amount_minor: int | None, after: Figures
) -> None:
    assert before.after(status, event, amount_minor) == after


@pytest.mark.parametrize(
    ("figures", "status", "event"),
    [
        (ASKED, Status.CONFIRMED, Event.CAPTURE),
        (ASKED, Status.CONFIRMED, Event.AUTHORIZE),
        (Figures(8000, 7000), Status.AUTHORIZED, Event.CAPTURE),
    ],
)
def test_nothing_is_taken_above_what_was_agreed(
    figures: Figures, status: Status, event: Event
) -> None:
    limit = figures.authorized_minor or figures.amount_minor
    with pytest.raises(PaymentError) as refused:
        figures.after(status, event, limit + 1)
    assert refused.value.code is ErrorCode.AMOUNT_EXCEEDED


def test_every_step_that_has_a_receipt_has_a_cause() -> None:
    told = [step for step, after in TRANSITIONS.items() if has_receipt(after)]
    assert told
    for status, event in told:
        assert causes(status, event)


def test_the_terminal_is_answered_when_nothing_is_under_way() -> None:
    assert {status for status in Status if answerable(status, None)} == FINAL | {Status.AUTHORIZED}
    assert not answerable(Status.AUTHORIZED, "capture")


@pytest.mark.parametrize(
    ("status", "operation"),
    [
        (Status.PENDING, None),
        (Status.CAPTURED, None),
        (Status.AUTHORIZED, "void"),
    ],
)
def test_what_is_not_held_is_left_alone(status: Status, operation: str | None) -> None:
    check_held(Status.AUTHORIZED, None)
    with pytest.raises(PaymentError) as refused:
        check_held(status, operation)
    assert refused.value.code is ErrorCode.PAYMENT_STATE


def test_a_hold_lasts_until_its_time() -> None:
    check_hold_lasts(None, 1000)
    check_hold_lasts(1001, 1000)
    with pytest.raises(PaymentError) as refused:
        check_hold_lasts(1000, 1000)
    assert refused.value.code is ErrorCode.PAYMENT_STATE


@pytest.mark.parametrize("ended", Ended)
def test_a_hold_that_time_ended_answers_the_receipt_before(ended: Ended) -> None:
    by_time = ended is Ended.BY_TIME
    first = Receipt.TYP if by_time else Cancel.TYP
    assert causes(Status.AUTHORIZED, Event.VOID, ended.value)[0] == first

"""The life cycle table, judged by a reading of its own."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twochannel.protocol.errors import ErrorCode, PaymentError
from twochannel.protocol.payment import (
    FINAL,
    INITIAL,
    REFUND_FINAL,
    REFUND_INITIAL,
    REFUND_TRANSITIONS,
    SETTLED,
    SUCCESS,
    TRANSITIONS,
    CaptureMode,
    Event,
    RefundEvent,
    RefundStatus,
    Status,
    advance,
    advance_refund,
    check_capture,
    check_refund,
)

#: Every history that a payment may have, as the design writes it, without loops.
PATHS = {
    CaptureMode.AUTOMATIC: [
        "pending confirm confirmed capture captured",
        "pending confirm confirmed refuse refused",
        "pending confirm confirmed lose unknown capture captured",
        "pending confirm confirmed lose unknown refuse refused",
    ],
    CaptureMode.MANUAL: [
        "pending confirm confirmed authorize authorized capture captured",
        "pending confirm confirmed authorize authorized void voided",
        "pending confirm confirmed refuse refused",
        "pending confirm confirmed lose unknown authorize authorized capture captured",
        "pending confirm confirmed lose unknown authorize authorized void voided",
        "pending confirm confirmed lose unknown refuse refused",
    ],
}
_UNCONFIRMED = [
    "pending decline declined",
    "pending expire expired",
    "pending cancel canceled",
]


def _walks(status: Status, mode: CaptureMode) -> list[str]:
    """All histories from ``status`` to an end that ``advance`` allows."""
    walks = []
    for event in Event:
        try:
            following = advance(status, event, mode)
        except PaymentError:
            continue
        walks += [f"{status} {event} {rest}" for rest in _walks(following, mode)]
    return walks or [status.value]


@pytest.mark.parametrize("mode", CaptureMode)
def test_the_table_allows_exactly_the_histories_of_the_design(mode: CaptureMode) -> None:
    assert sorted(_walks(INITIAL, mode)) == sorted(PATHS[mode] + _UNCONFIRMED)


def test_final_states_never_change() -> None:
    for status, event, mode in itertools.product(FINAL, Event, CaptureMode):
        with pytest.raises(PaymentError) as refusal:
            advance(status, event, mode)
        assert refusal.value.code is ErrorCode.PAYMENT_STATE


def test_every_state_and_event_is_used() -> None:
    assert {state for state, _ in TRANSITIONS} | set(TRANSITIONS.values()) == set(Status)
    assert {event for _, event in TRANSITIONS} == set(Event)
    assert FINAL | {Status.AUTHORIZED} == SETTLED
    assert set(SUCCESS) == set(CaptureMode)


@given(st.sampled_from(Status), st.sampled_from(Event), st.sampled_from(CaptureMode))
def test_a_held_payment_is_never_captured_without_a_hold(
    status: Status, event: Event, mode: CaptureMode
) -> None:
    try:
        following = advance(status, event, mode)
    except PaymentError:
        return
    if following is Status.CAPTURED and mode is CaptureMode.MANUAL:
        assert status is Status.AUTHORIZED
    if following is Status.AUTHORIZED:
        assert mode is CaptureMode.MANUAL


def test_captures_stay_within_what_was_agreed() -> None:
    check_capture(8000, 8000)
    check_capture(8000, 1)
    with pytest.raises(PaymentError) as refusal:
        check_capture(8000, 8001)
    assert refusal.value.code is ErrorCode.AMOUNT_EXCEEDED


def _refund_walks(status: RefundStatus) -> list[str]:
    walks = []
    for event in RefundEvent:
        try:
            following = advance_refund(status, event)
        except PaymentError:
            continue
        walks += [f"{status} {event} {rest}" for rest in _refund_walks(following)]
    return walks or [status.value]


def test_a_refund_has_exactly_these_histories() -> None:
    assert sorted(_refund_walks(REFUND_INITIAL)) == [
        "pending lose unknown refuse refused",
        "pending lose unknown succeed succeeded",
        "pending refuse refused",
        "pending succeed succeeded",
    ]
    with pytest.raises(PaymentError) as refusal:
        advance_refund(RefundStatus.SUCCEEDED, RefundEvent.REFUSE)
    assert refusal.value.code is ErrorCode.PAYMENT_STATE
    assert {RefundStatus.SUCCEEDED, RefundStatus.REFUSED} == REFUND_FINAL
    assert {event for _, event in REFUND_TRANSITIONS} == set(RefundEvent)


@given(st.integers(0, 10**12), st.lists(st.integers(1, 10**12), max_size=20))
def test_refunds_together_stay_within_what_was_captured(
    captured_minor: int, wanted_minor: list[int]
) -> None:
    promised_minor = 0
    for amount_minor in wanted_minor:
        if promised_minor + amount_minor <= captured_minor:
            check_refund(captured_minor, promised_minor, amount_minor)
            promised_minor += amount_minor
            continue
        with pytest.raises(PaymentError) as refusal:
            check_refund(captured_minor, promised_minor, amount_minor)
        assert refusal.value.code is ErrorCode.AMOUNT_EXCEEDED

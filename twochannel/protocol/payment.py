"""The life cycle of a payment: states, events, one table (docs/protocol.md, Life cycle).

``TRANSITIONS`` is the only place that says what may follow what. The server applies it inside
the transaction that stores the statement, the auditor checks every stored history against it,
and the diagram in the documentation is drawn from it. Refunds are objects of their own, any
number for a captured payment, with a table of their own.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from twochannel.protocol.errors import ErrorCode, PaymentError


class CaptureMode(StrEnum):
    """``automatic``: charged when confirmed. ``manual``: held, then captured by the terminal."""

    AUTOMATIC = "automatic"
    MANUAL = "manual"


class Status(StrEnum):
    PENDING = "pending"
    CONFIRMED = "confirmed"
    AUTHORIZED = "authorized"
    CAPTURED = "captured"
    UNKNOWN = "unknown"
    DECLINED = "declined"
    EXPIRED = "expired"
    CANCELED = "canceled"
    REFUSED = "refused"
    VOIDED = "voided"


class Event(StrEnum):
    CONFIRM = "confirm"
    DECLINE = "decline"
    EXPIRE = "expire"
    CANCEL = "cancel"
    AUTHORIZE = "authorize"
    CAPTURE = "capture"
    REFUSE = "refuse"
    LOSE = "lose"
    VOID = "void"


class RefundStatus(StrEnum):
    """``unknown``: the processor's answer was lost; nobody guesses."""

    PENDING = "pending"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    REFUSED = "refused"


class RefundEvent(StrEnum):
    SUCCEED = "succeed"
    REFUSE = "refuse"
    LOSE = "lose"


INITIAL: Final = Status.PENDING

#: (state, event) -> next state. What is not here is refused as ``payment_state``.
TRANSITIONS: Final[dict[tuple[Status, Event], Status]] = {
    (Status.PENDING, Event.CONFIRM): Status.CONFIRMED,
    (Status.PENDING, Event.DECLINE): Status.DECLINED,
    (Status.PENDING, Event.EXPIRE): Status.EXPIRED,
    (Status.PENDING, Event.CANCEL): Status.CANCELED,
    (Status.CONFIRMED, Event.AUTHORIZE): Status.AUTHORIZED,
    (Status.CONFIRMED, Event.CAPTURE): Status.CAPTURED,
    (Status.CONFIRMED, Event.REFUSE): Status.REFUSED,
    (Status.CONFIRMED, Event.LOSE): Status.UNKNOWN,
    (Status.UNKNOWN, Event.AUTHORIZE): Status.AUTHORIZED,
    (Status.UNKNOWN, Event.CAPTURE): Status.CAPTURED,
    (Status.UNKNOWN, Event.REFUSE): Status.REFUSED,
    (Status.AUTHORIZED, Event.CAPTURE): Status.CAPTURED,
    (Status.AUTHORIZED, Event.VOID): Status.VOIDED,
}

FINAL: Final = frozenset(Status) - {state for state, _ in TRANSITIONS}

#: Which successful processor event ends ``confirmed`` and ``unknown`` in each capture mode.
SUCCESS: Final[dict[CaptureMode, Event]] = {
    CaptureMode.AUTOMATIC: Event.CAPTURE,
    CaptureMode.MANUAL: Event.AUTHORIZE,
}

#: A waiting terminal is answered when one of these is reached.
SETTLED: Final = FINAL | {Status.AUTHORIZED}

REFUND_INITIAL: Final = RefundStatus.PENDING

#: (state, event) -> next state of a refund. What is not here is refused as ``payment_state``.
REFUND_TRANSITIONS: Final[dict[tuple[RefundStatus, RefundEvent], RefundStatus]] = {
    (RefundStatus.PENDING, RefundEvent.SUCCEED): RefundStatus.SUCCEEDED,
    (RefundStatus.PENDING, RefundEvent.REFUSE): RefundStatus.REFUSED,
    (RefundStatus.PENDING, RefundEvent.LOSE): RefundStatus.UNKNOWN,
    (RefundStatus.UNKNOWN, RefundEvent.SUCCEED): RefundStatus.SUCCEEDED,
    (RefundStatus.UNKNOWN, RefundEvent.REFUSE): RefundStatus.REFUSED,
}

REFUND_FINAL: Final = frozenset(RefundStatus) - {state for state, _ in REFUND_TRANSITIONS}


def advance(status: Status, event: Event, mode: CaptureMode) -> Status:
    """The state after ``event``. Raises PaymentError (``payment_state``) if it may not happen."""
    following = TRANSITIONS.get((status, event))
    awaits_processor = status in (Status.CONFIRMED, Status.UNKNOWN)
    wrong_mode = awaits_processor and event in SUCCESS.values() and event is not SUCCESS[mode]
    if following is None or wrong_mode:
        raise PaymentError(
            ErrorCode.PAYMENT_STATE, f"a payment that is {status} cannot {event} ({mode})"
        )
    return following


def check_capture(authorized_minor: int, amount_minor: int) -> None:
    """A capture is never above what the owner agreed. Raises PaymentError."""
    if amount_minor > authorized_minor:
        raise PaymentError(ErrorCode.AMOUNT_EXCEEDED)


def advance_refund(status: RefundStatus, event: RefundEvent) -> RefundStatus:
    """The refund's state after ``event``. Raises PaymentError (``payment_state``)."""
    following = REFUND_TRANSITIONS.get((status, event))
    if following is None:
        raise PaymentError(ErrorCode.PAYMENT_STATE, f"a refund that is {status} cannot {event}")
    return following


def check_refund(captured_minor: int, promised_minor: int, amount_minor: int) -> None:
    """All refunds together are never above what was captured. Raises PaymentError.

    ``promised_minor``: of the refunds before this one, without those that were refused.
    """
    if promised_minor + amount_minor > captured_minor:
        raise PaymentError(
            ErrorCode.AMOUNT_EXCEEDED, "refunds together are at most what was captured"
        )

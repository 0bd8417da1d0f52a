"""What an event means for a payment: its amounts, and the statement that its receipt answers.

Pure. ``server.payments`` applies it inside the transaction that stores the outcome.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from twochannel.protocol.errors import ErrorCode, PaymentError
from twochannel.protocol.payment import SETTLED, Event, Status, check_capture
from twochannel.protocol.statements import (
    Cancel,
    Capture,
    Challenge,
    Confirmation,
    Receipt,
)


class Ended(StrEnum):
    """``reason`` of a payment that was canceled or voided: who ended it."""

    BY_TERMINAL = "canceled_by_terminal"
    BY_OPERATOR = "canceled_by_operator"
    BY_TIME = "hold_expired"


#: The types of statement that cause an outcome, the first that the payment has counts. An
#: outcome of the charge answers the confirmation; ``held`` tells a capture from a charge.
_CAUSES: Final[dict[Event, tuple[str, ...]]] = {
    Event.DECLINE: (Confirmation.TYP,),
    Event.EXPIRE: (Challenge.TYP,),
    Event.CANCEL: (Cancel.TYP,),
    Event.AUTHORIZE: (Confirmation.TYP,),
    Event.REFUSE: (Confirmation.TYP,),
    Event.VOID: (Cancel.TYP, Receipt.TYP),
}


@dataclass(frozen=True, slots=True)
class Figures:
    """Amounts in minor units: asked of the owner, held or taken, taken."""

    amount_minor: int
    authorized_minor: int = 0
    captured_minor: int = 0

    def after(self, status: Status, event: Event, amount_minor: int | None) -> Figures:
        """The amounts once ``event`` has met a payment that was ``status``.

        ``amount_minor``: what the processor took or holds; None means all that was asked for.
        Raises PaymentError (``amount_exceeded``) above what was agreed.
        """
        if event not in (Event.AUTHORIZE, Event.CAPTURE):
            return self
        limit_minor = self.authorized_minor if status is Status.AUTHORIZED else self.amount_minor
        taken_minor = limit_minor if amount_minor is None else amount_minor
        check_capture(limit_minor, taken_minor)
        if event is Event.AUTHORIZE:
            return replace(self, authorized_minor=taken_minor)
        if status is Status.AUTHORIZED:
            return replace(self, captured_minor=taken_minor)
        return replace(self, authorized_minor=taken_minor, captured_minor=taken_minor)


def causes(status: Status, event: Event, reason: str | None = None) -> tuple[str, ...]:
    """Types of the statement that a receipt for ``event`` answers, the preferred one first.

    A hold that time ended answers the receipt before, even if a cancel was refused earlier.
    """
    if event is Event.CAPTURE:
        return (Capture.TYP,) if status is Status.AUTHORIZED else (Confirmation.TYP,)
    if event is Event.VOID and reason == Ended.BY_TIME:
        return (Receipt.TYP,)
    return _CAUSES[event]


def has_receipt(status: Status) -> bool:
    """Whether reaching ``status`` is told by a receipt: final, or held."""
    return status in SETTLED


def answerable(status: Status, operation: str | None) -> bool:
    """Whether someone who waits for the outcome has it: settled, and nothing under way."""
    return status in SETTLED and operation is None


def check_held(status: Status, operation: str | None) -> None:
    """A hold can be captured or voided while nothing else is under way. Raises PaymentError."""
    if status is not Status.AUTHORIZED:
        raise PaymentError(ErrorCode.PAYMENT_STATE, f"a payment that is {status} holds no amount")
    if operation is not None:
        raise PaymentError(ErrorCode.PAYMENT_STATE, f"a {operation} is under way")


def check_hold_lasts(hold_expires_ms: int | None, at_ms: int) -> None:
    """Nothing is captured of a hold past its time; it can still be voided. Raises PaymentError."""
    if hold_expires_ms is not None and at_ms >= hold_expires_ms:
        raise PaymentError(ErrorCode.PAYMENT_STATE, "the hold has expired")

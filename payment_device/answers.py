"""What a till is told: payments as the server and this terminal know them, and what went wrong."""

from __future__ import annotations

from typing import Any, Final

from payment_device.intents import Intent, Operation, Phase
from payment_device.receipts import PaymentView
from payment_device.sightings import Absence, Ambiguity, Ambiguous, NoJack
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.money import Amount
from twochannel.protocol.statements import Refund

_ABSENT: Final = {
    Absence.NONE_HEARD: "no jack is heard",
    Absence.STALE: "the jack that was here is not heard any more",
    Absence.TOO_WEAK: "the nearest jack is too far away",
    Absence.AT_ANOTHER_LANE: "the nearest jack is at another lane",
    Absence.SETTLING: "a jack has only just come; charge again in a second",
    Absence.LEAVING: "the nearest jack is driving away",
}
_AMBIGUOUS: Final = {
    Ambiguity.CROWDED: "more jacks are heard than can be told apart",
    Ambiguity.EQUALLY_NEAR: "several jacks are equally near",
    Ambiguity.SENT_TWICE: "somebody else sends the code of this jack, too",
    Ambiguity.BETWEEN_LANES: "another lane hears this jack nearly as well",
    Ambiguity.SAME_HANDLE: "several jacks have this handle",
}


class JackAmbiguousError(CodedError):
    """Any of ``candidates`` may be at the lane: the attendant has to pick."""

    def __init__(self, ambiguous: Ambiguous) -> None:
        self.candidates = ambiguous.candidates
        heard = ", ".join(f"{jack.handle} ({jack.rssi_dbm} dBm)" for jack in self.candidates)
        super().__init__(ErrorCode.JACK_AMBIGUOUS, f"{_AMBIGUOUS[ambiguous.reason]}: {heard}")


class UnsettledError(CodedError):
    """The server cannot be reached; ``payment`` is on disk and goes on when it can be."""

    def __init__(self, payment: str) -> None:
        self.payment = payment
        super().__init__(
            ErrorCode.SERVER_UNREACHABLE,
            f"the server cannot be reached; payment {payment} is kept and resumed",
        )


def view(intent: Intent) -> dict[str, Any]:
    """A payment for the till: the server's members, and what this terminal knows of it.

    ``phase``: see Phase; ``code``: why it ended without an outcome; ``paid``: goods may leave, as
    a receipt proves; ``legs``: milliseconds as this terminal measured them.
    """
    asked = intent.asked
    own: dict[str, Any] = {
        "id": intent.payment,
        "status": None,
        "amount": asked.amount.model_dump(),
        "capture": asked.capture.value,
        "lane": asked.lane,
        "reference": asked.reference,
        "description": asked.description,
    }
    payment = settled_view(intent)
    taken_minor = payment.captured_minor if payment else 0
    shown = Amount(value=taken_minor or asked.amount.value, currency=asked.amount.currency)
    local = {
        "phase": intent.phase.value,
        "code": intent.code,
        "paid": payment is not None and payment.paid,
        "amount_text": str(shown),
        "legs": intent.legs,
    }
    return own | (intent.answer or {}) | local


def refund_view(refund: Operation) -> dict[str, Any]:
    """A refund for the till. ``phase``: ``done`` once a receipt proves it, ``stored`` before."""
    claims = refund.claims
    if not isinstance(claims, Refund):
        raise TypeError("only refunds are shown so")
    return {
        "id": refund.statement,
        "amount": claims.amount.model_dump(),
        "amount_text": str(claims.amount),
        "reference": claims.reference,
        "phase": refund.phase.value,
    }


def settled_view(intent: Intent) -> PaymentView | None:
    """The payment as the server's last answer, which was checked, has it; None: not settled."""
    if intent.answer is None or intent.phase is not Phase.SETTLED:
        return None
    return PaymentView.model_validate(intent.answer)


def not_chosen(choice: Ambiguous | NoJack) -> CodedError:
    """The error that tells why no jack can be charged."""
    if isinstance(choice, Ambiguous):
        return JackAmbiguousError(choice)
    return CodedError(ErrorCode.NO_JACK_HEARD, _ABSENT[choice.reason])

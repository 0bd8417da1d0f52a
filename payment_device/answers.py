"""What a till is told: payments as the server and this terminal know them, and what went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from payment_device.intents import Intent, Kind, Operation, OperationPhase, Phase
from payment_device.receipts import PaymentView
from payment_device.sightings import (
    Absence,
    Ambiguity,
    Ambiguous,
    Choice,
    Chosen,
    Nearby,
    NoJack,
)
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


def view(intent: Intent, operations: Sequence[Operation] = ()) -> dict[str, Any]:
    """A payment for the till: the server's members, and what this terminal knows of it.

    ``phase``: see Phase; ``code``: why it ended without an outcome; ``paid``: goods may leave, as
    a receipt proves; ``legs``: milliseconds as this terminal measured them; ``under_way``: what
    was asked for and has no outcome yet; ``refunds``: all that were not refused.
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
        "match_code": None,
        "reason": None,
        "receipt": None,
        "authorized_minor": 0,
        "captured_minor": 0,
        "refunded_minor": 0,
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
        "under_way": _under_way(operations),
        "refunds": [refund_view(each) for each in operations if _is_refund(each)],
    }
    return own | (intent.answer or {}) | local


def _under_way(operations: Sequence[Operation]) -> str | None:
    """The first thing that the server has not settled."""
    begun = (each for each in operations if each.phase is OperationPhase.STORED)
    return next((each.kind.noun for each in begun), None)


def _is_refund(operation: Operation) -> bool:
    return operation.kind is Kind.REFUND and operation.phase is not OperationPhase.REFUSED


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


def jacks_view(choice: Choice, nearby: Sequence[Nearby], now_s: float) -> dict[str, Any]:
    """What is heard at monotonic ``now_s``, strongest first, and why none is chosen (else null).

    ``state``: ``chosen``, ``ambiguous`` (any of these may be meant), ``heard``, ``quiet``.
    """
    states: dict[str, str] = {}
    if isinstance(choice, Chosen):
        states = {choice.jack.handle: "chosen"}
    elif isinstance(choice, Ambiguous):
        states = {jack.handle: "ambiguous" for jack in choice.candidates}
    items = [
        {
            "handle": jack.handle,
            "rssi_dbm": jack.rssi_dbm,
            "age_ms": max(0, round((now_s - jack.heard_at_s) * 1000)),
            "state": "quiet" if jack.quiet else states.get(jack.handle, "heard"),
        }
        for jack in nearby
    ]
    return {"items": items, "reason": None if isinstance(choice, Chosen) else choice.reason.value}


def not_chosen(choice: Ambiguous | NoJack) -> CodedError:
    """The error that tells why no jack can be charged."""
    if isinstance(choice, Ambiguous):
        return JackAmbiguousError(choice)
    return CodedError(ErrorCode.NO_JACK_HEARD, _ABSENT[choice.reason])

"""What the terminal believes of a server's answer: nothing that a receipt does not prove. Pure.

A payment that the server calls settled counts only with a receipt that the pinned server key has
signed, for this terminal, about this payment, with the same status and amounts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.money import Amount, MinorUnits
from twochannel.protocol.payment import SETTLED, CaptureMode, RefundStatus, Status
from twochannel.protocol.statements import PaymentRequest, Receipt, Refund
from twochannel.protocol.succession import Lineage

#: Outcomes in which money is taken or held.
PAID: Final = frozenset({Status.AUTHORIZED, Status.CAPTURED})


class Operation(StrEnum):
    """What may be under way on a held payment."""

    CAPTURE = "capture"
    VOID = "void"


def _member(kind: type[StrEnum]) -> BeforeValidator:
    return BeforeValidator(lambda value: kind(value) if isinstance(value, str) else value)


class PaymentView(BaseModel):
    """Those members of a payment (docs/protocol.md, Server) that the terminal acts on.

    Others are passed through to the till, so that a newer server may add some.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    id: str
    status: Annotated[Status, _member(Status)]
    amount: Amount
    capture: Annotated[CaptureMode, _member(CaptureMode)]
    authorized_minor: MinorUnits
    captured_minor: MinorUnits
    refunded_minor: MinorUnits
    lane: str
    reference: str
    operation: Annotated[Operation, _member(Operation)] | None
    receipt: str | None

    @property
    def settled(self) -> bool:
        """Nothing more is to come unless the terminal asks for it."""
        return self.status in SETTLED and self.operation is None

    @property
    def paid(self) -> bool:
        """Goods may leave: all that was asked for is held, or taken, or the terminal took less.

        A card processor may grant less than was asked for. That is a true outcome and no payment.
        """
        return self.status in PAID and self.authorized_minor == self.amount.value


class RefundView(BaseModel):
    """Those members of a refund that the terminal acts on.

    ``refunded_minor``: of the payment with this refund, as the receipt proves; 0 before it has
    succeeded.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    id: str
    payment: str
    status: Annotated[RefundStatus, _member(RefundStatus)]
    amount: Amount
    reference: str
    reason: str | None
    receipt: str | None
    refunded_minor: MinorUnits = 0


@dataclass(frozen=True, slots=True)
class ReceiptCheck:
    """Whose receipts are believed: ``keys`` gives those of the pinned server."""

    terminal: str
    keys: Callable[[], Lineage]

    def check(self, answer: dict[str, object], request: PaymentRequest) -> PaymentView:
        """Believe ``answer`` about ``request``, or raise StatementError."""
        try:
            payment = PaymentView.model_validate(answer)
        except ValidationError:
            raise _refused("it is not a payment") from None
        _check_terms(payment, request)
        if payment.status in SETTLED:
            self._check_receipt(payment)
        return payment

    def check_refund(self, answer: dict[str, object], refund: Refund, prev: str) -> RefundView:
        """Believe ``answer`` about ``refund`` (``prev``: its digest), or raise StatementError."""
        try:
            view = RefundView.model_validate(answer | {"refunded_minor": 0})
        except ValidationError:
            raise _refused("it is not a refund") from None
        told = (view.id, view.payment, view.amount, view.reference)
        if told != (refund.jti, refund.sub, refund.amount, refund.reference):
            raise _refused("it is about another refund")
        if view.status is not RefundStatus.SUCCEEDED:
            return view
        receipt = self.keys().verify(view.receipt or "", Receipt, audience=self.terminal)
        proven = (receipt.iss, receipt.sub, receipt.prev, receipt.status, receipt.currency)
        if proven != (
            self.keys().server,
            refund.sub,
            prev,
            Status.CAPTURED,
            refund.amount.currency,
        ):
            raise _refused("the receipt says something else")
        if not refund.amount.value <= receipt.refunded_minor <= receipt.captured_minor:
            raise _refused("the receipt has another amount")
        return view.model_copy(update={"refunded_minor": receipt.refunded_minor})

    def _check_receipt(self, payment: PaymentView) -> None:
        if payment.receipt is None:
            raise _refused("it has no receipt")
        receipt = self.keys().verify(payment.receipt, Receipt, audience=self.terminal)
        proven = (
            receipt.iss,
            receipt.sub,
            receipt.status,
            receipt.currency,
            receipt.authorized_minor,
            receipt.captured_minor,
            receipt.refunded_minor,
        )
        told = (
            self.keys().server,
            payment.id,
            payment.status,
            payment.amount.currency,
            payment.authorized_minor,
            payment.captured_minor,
            payment.refunded_minor,
        )
        if proven != told:
            raise _refused("the receipt says something else")


def _check_terms(payment: PaymentView, request: PaymentRequest) -> None:
    """The answer is about what was asked, and nobody has paid more than they agreed to."""
    told = (payment.id, payment.amount, payment.capture, payment.lane, payment.reference)
    asked = (request.sub, request.amount, request.capture, request.lane, request.reference)
    if told != asked:
        raise _refused("it is about another payment")
    if payment.captured_minor > payment.authorized_minor:
        raise _refused("more was captured than authorised")
    if payment.authorized_minor > payment.amount.value:
        raise _refused("more was authorised than asked for")


def _refused(why: str) -> StatementError:
    return StatementError(ErrorCode.CHAIN_BROKEN, f"the server's answer is not believed: {why}")

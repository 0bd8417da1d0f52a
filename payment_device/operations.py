"""What is done to a payment later: captured, cancelled, refunded. On disk before it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from payment_device.answers import settled_view
from payment_device.errands import Equipment, Errands
from payment_device.intents import Intent, Kind, Operation, OperationPhase, Phase
from payment_device.operation_errand import OperationErrand
from payment_device.orders import GivingBack, cancel_of, capture_of, refund_of
from payment_device.patience import Patience
from payment_device.refund_errand import RefundErrand
from twochannel.protocol.envelope import digest, sign
from twochannel.protocol.errors import ErrorCode, PaymentError
from twochannel.protocol.money import Amount
from twochannel.protocol.payment import Status
from twochannel.protocol.statements import Cancel, Capture, Refund

#: The claims of an operation with this statement id and time.
_Claims = Callable[[str, int], Capture | Cancel | Refund]


class Operations:
    """Each begins once, however often a till asks for it, and goes on without the till."""

    def __init__(
        self,
        equipment: Equipment,
        errands: Errands,
        new_id: Callable[[], str],
        patience: Patience,
    ) -> None:
        self._equipment = equipment
        self._intents = equipment.intents
        self._errands = errands
        self._new_id = new_id
        self._patience = patience
        self._ordering = asyncio.Lock()

    async def capture(self, intent: Intent, amount: Amount, wait_s: int) -> None:
        """Take ``amount`` of a held payment. Asking twice for the same takes it once."""
        settled = settled_view(intent)
        if settled and (settled.status, settled.captured_minor) == (Status.CAPTURED, amount.value):
            return
        _check_currency(intent, amount)

        def claims(statement: str, now_s: int) -> Capture:
            return capture_of(intent.asked, digest(intent.request), amount, statement, now_s)

        await self._operate(intent, Kind.CAPTURE, claims, wait_s)

    async def cancel(self, intent: Intent, reason: str, wait_s: int) -> None:
        """End a pending payment or release a hold."""
        settled = settled_view(intent)
        ended = settled is not None and settled.status in (Status.CANCELED, Status.VOIDED)
        if ended or intent.phase is Phase.LAPSED:
            return

        def claims(statement: str, now_s: int) -> Cancel:
            return cancel_of(intent.asked, digest(intent.request), reason, statement, now_s)

        await self._operate(intent, Kind.CANCEL, claims, wait_s)

    async def refund(self, intent: Intent, asked: GivingBack) -> str:
        """Give back what was captured, or a part of it; the refund's id.

        The same reference is given back once.
        """
        _check_currency(intent, asked.amount)

        def claims(statement: str, now_s: int) -> Refund:
            return refund_of(intent.asked, digest(intent.request), asked, statement, now_s)

        return await self._operate(intent, Kind.REFUND, claims, asked.wait_s, asked.reference)

    def resume(self) -> None:
        """Take up what an earlier run has left open."""
        for operation in self._intents.open_operations():
            self._equipment.trace.event(
                "intent_swept", operation.payment, operation=operation.kind.value
            )
            self._begin(operation)

    async def _operate(
        self,
        intent: Intent,
        kind: Kind,
        claims: _Claims,
        wait_s: int,
        reference: str | None = None,
    ) -> str:
        """Begin the operation, or join it, and wait for its outcome; its statement's id."""
        async with self._ordering:
            statement = self._joined(intent.payment, kind, claims, reference)
            if statement is None:
                statement = self._new_id()
                made = claims(statement, self._equipment.client.now_s())
                compact = sign(made, self._equipment.signer)
                operation = Operation(
                    statement, intent.payment, kind, compact, OperationPhase.STORED, None
                )
                await asyncio.to_thread(self._intents.store_operation, operation)
                self._begin(operation)
        errand = self._errands.find(statement)

        def known() -> bool:
            open_phase = OperationPhase.STORED
            settled = self._intents.get_operation(statement).phase is not open_phase
            return settled or (errand is not None and errand.refusal is not None)

        await self._patience.watch(errand, known, wait_s, intent.payment)
        if errand is not None and errand.refusal is not None:
            raise errand.refusal
        return statement

    def _begin(self, operation: Operation) -> None:
        kind = RefundErrand if operation.kind is Kind.REFUND else OperationErrand
        self._errands.begin(kind(operation.statement, self._equipment))

    def _joined(
        self, payment: str, kind: Kind, claims: _Claims, reference: str | None
    ) -> str | None:
        """The same operation, if it is under way already. Another one has to wait for it.

        A refund is known by its ``reference`` for good, unless it was refused.
        """
        kept = self._intents.find_refund(payment, reference) if reference is not None else None
        for operation in ([kept] if kept else []) + self._intents.open_operations(payment):
            wanted = claims(operation.statement, operation.claims.iat)
            if operation.kind is kind and wanted == operation.claims:
                return operation.statement
            if operation is kept:
                detail = "the reference was used for another refund"
                raise PaymentError(ErrorCode.PAYMENT_CONFLICT, detail)
            raise PaymentError(ErrorCode.PAYMENT_STATE, f"a {operation.kind.noun} is under way")
        return None


def _check_currency(intent: Intent, amount: Amount) -> None:
    agreed = intent.asked.amount.currency
    if amount.currency != agreed:
        raise PaymentError(ErrorCode.CURRENCY_UNKNOWN, f"the payment is in {agreed}")

"""Settling a capture or cancel: send the statement, then wait until the server is done with it."""

from __future__ import annotations

import logging
from typing import Any

from payment_device.errands import PASSING, Equipment, Errand
from payment_device.intents import VOID, Intent, Kind, Operation, OperationPhase, Phase
from payment_device.receipts import PaymentView
from server.client import ServerUnreachableError
from twochannel.protocol.envelope import sign
from twochannel.protocol.errors import CodedError, ErrorCode, LimitError, StatementError
from twochannel.protocol.limits import MAX_WAIT_S, REQUEST_LIFETIME_S
from twochannel.protocol.payment import SETTLED, Status
from twochannel.protocol.statements import Capture

_log = logging.getLogger(__name__)


class OperationErrand(Errand):
    """One capture or cancel. It keeps its statement id, so that it takes effect at most once."""

    #: The payment has moved on, perhaps by this very statement: look what became of it.
    _moved_on = frozenset({ErrorCode.PAYMENT_STATE, ErrorCode.STATEMENT_REPLAYED})

    def __init__(self, statement: str, equipment: Equipment) -> None:
        super().__init__(statement, equipment)
        self.statement = statement
        self._looking = False
        self._renew = False

    async def step(self) -> bool:
        operation = self._equipment.intents.get_operation(self.statement)
        intent = self._equipment.intents.get(operation.payment)
        if intent.phase in VOID:
            return self._without_payment(operation)
        if not self._equipment.client.synchronised:
            await self._equipment.client.synchronise()
        try:
            answer = await self._exchange(operation)
        except CodedError as error:
            return self._take_refusal(intent, error)
        # What was sent may have been signed again, and a refund's receipt names what was sent.
        return self._take(self._equipment.intents.get_operation(self.statement), intent, answer)

    async def _exchange(self, operation: Operation) -> dict[str, Any]:
        path = f"/v1/payments/{operation.payment}"
        client = self._equipment.client
        if self._looking:
            return await client.get(self._outcome_path(operation), wait_s=MAX_WAIT_S)
        statements = iter(() if self._renew else (operation.compact,))

        def build(now_s: int) -> str:
            return next(statements, None) or self._sign_again(operation, now_s)

        return await client.submit(f"{path}/{operation.kind}", build, wait_s=MAX_WAIT_S)

    def _outcome_path(self, operation: Operation) -> str:
        """Where the server tells what became of it."""
        return f"/v1/payments/{operation.payment}"

    def _sign_again(self, operation: Operation, now_s: int) -> str:
        """The server has refused the statement for its time and does not hold it."""
        times = {"iat": now_s, "exp": now_s + REQUEST_LIFETIME_S}
        compact = sign(operation.claims.model_copy(update=times), self._equipment.signer)
        self._equipment.intents.sign_operation_again(operation.statement, compact)
        self._renew = False
        return compact

    def _take_refusal(self, intent: Intent, error: CodedError) -> bool:
        unsent = error.code is ErrorCode.PAYMENT_UNKNOWN and intent.phase is Phase.STORED
        if isinstance(error, LimitError):
            raise error
        if error.code in PASSING or unsent or self._looking:
            # Of what was sent a refused look says nothing; sent again, it is answered.
            self._looking = False
            raise ServerUnreachableError(error.detail)
        if error.code in self._moved_on:
            self._looking = True
            return False
        if error.code is ErrorCode.STATEMENT_EXPIRED:
            self._renew = True
            return False
        return self._end(OperationPhase.REFUSED, error)

    def _take(self, operation: Operation, intent: Intent, answer: dict[str, Any]) -> bool:
        try:
            payment = self._equipment.receipts.check(answer, intent.asked)
        except StatementError as error:
            # It stays stored: the next start asks again.
            _log.error(
                "answer_unverified", extra={"payment": operation.payment, "code": error.code}
            )
            self.refusal = error
            return True
        if payment.status in SETTLED:
            self._equipment.intents.learn(operation.payment, Phase.SETTLED, answer, intent.legs)
        if not payment.settled:
            self._looking = True
            return False
        if not _fulfils(operation, payment):
            why = f"the payment is {payment.status}"
            return self._end(OperationPhase.REFUSED, CodedError(ErrorCode.PAYMENT_STATE, why))
        if intent.phase is Phase.SETTLED:
            self._equipment.trace.event(
                "payment_settled", operation.payment, status=payment.status.value
            )
        return self._end(OperationPhase.DONE)

    def _without_payment(self, operation: Operation) -> bool:
        """The request never became a payment: nothing is left to cancel, and nothing to take."""
        if operation.kind is Kind.CANCEL:
            return self._end(OperationPhase.DONE)
        return self._end(OperationPhase.REFUSED, CodedError(ErrorCode.PAYMENT_UNKNOWN))

    def _end(self, phase: OperationPhase, refusal: CodedError | None = None) -> bool:
        self.refusal = refusal
        code = refusal.code.value if refusal else None
        self._equipment.intents.close_operation(self.statement, phase, code)
        _log.info("operation_ended", extra={"operation": self.statement, "code": code})
        return True


def _fulfils(operation: Operation, payment: PaymentView) -> bool:
    claims = operation.claims
    if isinstance(claims, Capture):
        taken = payment.status is Status.CAPTURED
        return taken and payment.captured_minor == claims.amount.value
    return payment.status in (Status.CANCELED, Status.VOIDED)

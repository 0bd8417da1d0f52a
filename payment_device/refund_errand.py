"""Settling a refund: it has an outcome of its own, and is believed with its receipt alone."""

from __future__ import annotations

import logging
from typing import Any

from payment_device.intents import Intent, Kind, Operation, OperationPhase, Phase
from payment_device.operation_errand import OperationErrand
from twochannel.protocol.envelope import digest
from twochannel.protocol.errors import CodedError, ErrorCode, StatementError
from twochannel.protocol.payment import REFUND_FINAL, RefundStatus
from twochannel.protocol.statements import Refund

_log = logging.getLogger(__name__)


class RefundErrand(OperationErrand):
    """One refund. Its statement id is the refund's, so that it is given back at most once."""

    _moved_on = frozenset({ErrorCode.STATEMENT_REPLAYED})

    def _outcome_path(self, operation: Operation) -> str:
        return f"/v1/payments/{operation.payment}/{Kind.REFUND}/{operation.statement}"

    def _take(self, operation: Operation, intent: Intent, answer: dict[str, Any]) -> bool:
        claims = operation.claims
        if not isinstance(claims, Refund):
            raise TypeError("only refunds are settled here")
        try:
            refund = self._equipment.receipts.check_refund(
                answer, claims, digest(operation.compact)
            )
        except StatementError as error:
            # It stays stored: the next start asks again.
            _log.error("answer_unverified", extra={"refund": operation.statement})
            self.refusal = error
            return True
        if refund.status not in REFUND_FINAL:
            self._looking = True
            return False
        if refund.status is RefundStatus.REFUSED:
            why = f"the refund was refused: {(refund.reason or 'no reason').replace('_', ' ')}"
            return self._end(OperationPhase.REFUSED, CodedError(ErrorCode.PAYMENT_STATE, why))
        self._note(intent, refund.refunded_minor, refund.receipt)
        return self._end(OperationPhase.DONE)

    def _note(self, intent: Intent, refunded_minor: int, receipt: str | None) -> None:
        """What the till is shown of the payment; refunds may end in another order than begun."""
        known = intent.answer or {}
        if intent.phase is Phase.SETTLED and refunded_minor > known.get("refunded_minor", 0):
            told = known | {"refunded_minor": refunded_minor, "receipt": receipt}
            self._equipment.intents.learn(intent.payment, Phase.SETTLED, told, intent.legs)

"""Settling a payment: send the request, then follow the payment until its outcome is on disk."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

from payment_device.errands import PASSING, Equipment, Errand
from payment_device.intents import AT_THE_LANE, Intent, Kind, Phase
from payment_device.orders import again
from payment_device.receipts import PaymentView
from server.client import ServerUnreachableError
from twochannel.protocol.envelope import sign
from twochannel.protocol.errors import (
    PROBLEMS,
    CodedError,
    ErrorCode,
    LimitError,
    StatementError,
)
from twochannel.protocol.limits import MAX_WAIT_S
from twochannel.protocol.payment import SETTLED, Status

_log = logging.getLogger(__name__)

#: How long the first answer may be held back. A payment that the phone approves by itself is over
#: well before; otherwise the match code must be on the lane's screen before the owner looks.
FIRST_WAIT_S: Final = 1
#: A server that does not hold answers back is asked again no sooner than this.
_POLL_S: Final = 0.25


class PaymentErrand(Errand):
    """One payment request.

    ``swept``: found after a restart. Its request is sent as it is and never signed anew, for the
    customer may have gone. ``asked_s``, ``chosen_s``: monotonic times of this payment's legs.
    """

    def __init__(
        self,
        payment: str,
        equipment: Equipment,
        *,
        swept: bool = False,
        first_wait_s: int = FIRST_WAIT_S,
        asked_s: float | None = None,
        chosen_s: float | None = None,
    ) -> None:
        super().__init__(payment, equipment)
        self.payment = payment
        self._swept = swept
        self._first_wait_s = first_wait_s
        self._asked_s = asked_s
        self._chosen_s = chosen_s
        self._sent_s: float | None = None
        self._held_by_server = False

    async def step(self) -> bool:
        client = self._equipment.client
        if self._swept and not client.synchronised:
            await client.synchronise()
        intent = self._equipment.intents.get(self.payment)
        if client.now_s() >= intent.asked.exp:
            await self._equipment.radio.silence(self.payment)
        if self._may_send(intent):
            return await self._send(intent)
        return await self._look_up(intent)

    def _may_send(self, intent: Intent) -> bool:
        """A request is sent until its answer is known, while it lives and nobody cancelled it."""
        return (
            intent.phase is Phase.STORED
            and not self._held_by_server
            and self._equipment.client.now_s() < intent.asked.exp
            and not self._cancel_asked()
        )

    def _cancel_asked(self) -> bool:
        operations = self._equipment.intents.open_operations(self.payment)
        return any(operation.kind is Kind.CANCEL for operation in operations)

    async def _send(self, intent: Intent) -> bool:
        requests = iter((intent.request,))

        def build(now_s: int) -> str:
            compact = next(requests, None) or self._sign_again(intent, now_s)
            self._sent_s = time.monotonic()
            self._equipment.trace.event("request_sent", self.payment)
            return compact

        try:
            answer = await self._equipment.client.submit(
                "/v1/payments", build, wait_s=self._first_wait_s
            )
        except CodedError as error:
            self._trace_answer(PROBLEMS[error.code].status, code=error.code.value)
            return await self._take_refusal(error)
        self._trace_answer(200)
        return await self._take(intent, answer)

    def _sign_again(self, intent: Intent, now_s: int) -> str:
        """The server's clock differs from ours, and it does not hold the request."""
        if self._swept:
            return intent.request
        compact = sign(again(intent.asked, now_s), self._equipment.signer)
        self._equipment.intents.sign_again(self.payment, compact)
        return compact

    def _trace_answer(self, status_code: int, **fields: object) -> None:
        self._equipment.trace.event(
            "request_answered", self.payment, status_code=status_code, **fields
        )

    async def _take_refusal(self, error: CodedError) -> bool:
        if error.code in PASSING:
            raise ServerUnreachableError(error.detail)
        if error.code is ErrorCode.PAYMENT_CONFLICT:
            # It holds this payment under an earlier signature of the same terms.
            self._held_by_server = True
            return False
        self._equipment.forbearance.learn(error)
        too_late = error.code is ErrorCode.STATEMENT_EXPIRED
        if too_late or (self._swept and error.code is ErrorCode.CLOCK_SKEW):
            return await self._end(Phase.LAPSED, CodedError(ErrorCode.STATEMENT_EXPIRED))
        return await self._end(Phase.REFUSED, error)

    async def _look_up(self, intent: Intent) -> bool:
        wait_s = 0 if intent.phase is Phase.STORED else MAX_WAIT_S
        try:
            answer = await self._equipment.client.get(f"/v1/payments/{self.payment}", wait_s=wait_s)
        except LimitError:
            raise
        except CodedError as error:
            if error.code is ErrorCode.PAYMENT_UNKNOWN and self._can_never_be(intent):
                return await self._end(Phase.LAPSED, CodedError(ErrorCode.STATEMENT_EXPIRED))
            raise ServerUnreachableError(error.detail) from None
        return await self._take(intent, answer)

    def _can_never_be(self, intent: Intent) -> bool:
        """The server has never had the request and, by its own time, takes it no more."""
        expired = self._equipment.client.now_s() > intent.asked.exp
        return expired and intent.phase is Phase.STORED and not self._held_by_server

    async def _take(self, before: Intent, answer: dict[str, Any]) -> bool:
        try:
            payment = self._equipment.receipts.check(answer, before.asked)
        except StatementError as error:
            _log.error("answer_unverified", extra={"payment": self.payment, "code": error.code})
            return await self._end(Phase.UNVERIFIED, error)
        phase = _phase(payment)
        self._equipment.intents.learn(self.payment, phase, answer, self._legs())
        if phase is Phase.SETTLED:
            self._equipment.trace.event(
                "payment_settled", self.payment, status=payment.status.value
            )
            _log.info(
                "payment_settled", extra={"payment": self.payment, "status": payment.status.value}
            )
        self.tell()
        if phase not in AT_THE_LANE:
            await self._equipment.radio.silence(self.payment)
        if phase is before.phase:
            await asyncio.sleep(_POLL_S)
        return phase is Phase.SETTLED

    async def _end(self, phase: Phase, refusal: CodedError) -> bool:
        self.refusal = refusal
        self._equipment.intents.close_without(self.payment, phase, refusal.code.value)
        _log.info("payment_ended", extra={"payment": self.payment, "code": refusal.code.value})
        self.tell()
        await self._equipment.radio.silence(self.payment)
        return True

    def _legs(self) -> dict[str, float]:
        """Milliseconds from leg to leg; nothing for a payment that was swept."""
        if self._asked_s is None or self._chosen_s is None or self._sent_s is None:
            return {}
        now_s = time.monotonic()
        return {
            "heard": _ms(self._chosen_s - self._asked_s),
            "sent": _ms(self._sent_s - self._chosen_s),
            "answered": _ms(now_s - self._sent_s),
            "total": _ms(now_s - self._asked_s),
        }


def _phase(payment: PaymentView) -> Phase:
    if payment.status in SETTLED:
        return Phase.SETTLED
    return Phase.PENDING if payment.status is Status.PENDING else Phase.PROCESSING


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)

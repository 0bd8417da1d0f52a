"""Answers on their way to the server: signed, kept, then sent until the server has answered."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any, Final

from phone_agent.consent import Answer
from phone_agent.delivery import TRANSIENT, deliver
from phone_agent.identity import PhoneIdentity
from phone_agent.ledger import Ledger
from phone_agent.wallet import Wallet
from server.client import ServerClient, ServerUnreachableError
from twochannel.protocol.envelope import digest, sign
from twochannel.protocol.errors import PROBLEMS, CodedError, LimitError
from twochannel.protocol.limits import REQUEST_LIFETIME_S
from twochannel.protocol.statements import Challenge, Confirmation, Decision
from twochannel.trace import Trace

_FIRST_RETRY_S: Final = 0.2
_MAX_RETRY_S: Final = 5.0
_log = logging.getLogger(__name__)


class Confirmations:
    """``new_id``: UUIDs of statements."""

    def __init__(
        self,
        *,
        identity: PhoneIdentity,
        server: ServerClient,
        wallet: Wallet,
        ledger: Ledger,
        trace: Trace,
        new_id: Callable[[], str],
    ) -> None:
        self._identity = identity
        self._server = server
        self._wallet = wallet
        self._ledger = ledger
        self._trace = trace
        self._new_id = new_id
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """The server is back: send what waits at once."""
        self._hurry.set()
        self._hurry = asyncio.Event()

    def keep(self, challenge: Challenge, compact: str, answer: Answer, code: str | None) -> None:
        """Sign the answer to a challenge (``compact``), and keep it. ``code``: the auth code.

        Raises PaymentError if the payment has its answer.
        """
        signer, now_s = self._identity.signer, self._server.now_s()
        approves = answer.decision is Decision.APPROVE
        confirmation = Confirmation(
            iss=signer.key.kid,
            aud=challenge.iss,
            jti=self._new_id(),
            iat=now_s,
            exp=now_s + REQUEST_LIFETIME_S,
            sub=challenge.sub,
            prev=digest(compact),
            decision=answer.decision,
            decided_by=answer.decided_by,
            auth_code=code,
            payment_method=self._wallet.method_for(challenge.aud) if approves else None,
        )
        self._ledger.keep_answer(challenge.sub, answer, sign(confirmation, signer))
        fields = {
            "decision": answer.decision.value,
            "decided_by": answer.decided_by.value,
            "reason": answer.reason.value,
        }
        self._trace.event("decision", challenge.sub, **fields)
        _log.info("payment_decided", extra={"payment": challenge.sub} | fields)

    async def deliver(self, payment: str) -> dict[str, Any] | None:
        """Send the kept confirmation until it is answered, and close the payment.

        Returns the payment as the server shows it, None if the confirmation was refused.
        """
        delay_s = _FIRST_RETRY_S
        while True:
            after_s = 0
            try:
                shown = await self._send(payment)
            except ServerUnreachableError as error:
                _log.info(
                    "confirmation_unanswered", extra={"payment": payment, "reason": str(error)}
                )
            except CodedError as error:
                after_s = _retry_after_s(error)
                if error.code not in TRANSIENT and not after_s:
                    self._ledger.close_payment(payment, f"refused: {error.code}")
                    return None
            else:
                self._ledger.close_payment(payment, "answered")
                return shown
            await asyncio.sleep(after_s)
            delay_s = await self._pause(delay_s)

    async def _send(self, payment: str) -> dict[str, Any]:
        compact = self._ledger.payment(payment).confirmation
        if compact is None:
            raise RuntimeError(f"payment {payment} has no confirmation to send")
        self._trace.event("confirmation_sent", payment)
        try:
            shown = await deliver(
                self._server,
                f"/v1/payments/{payment}/confirmation",
                compact,
                Confirmation,
                self._identity.signer,
                lambda compact: self._ledger.keep_signed_again(payment, compact),
            )
        except CodedError as error:
            _log.warning("confirmation_refused", extra={"payment": payment, "reason": str(error)})
            self._answered(payment, PROBLEMS[error.code].status, code=error.code.value)
            raise
        self._answered(payment, 200)
        return shown

    def _answered(self, payment: str, status_code: int, **fields: str) -> None:
        self._trace.event("confirmation_answered", payment, status_code=status_code, **fields)

    async def _pause(self, delay_s: float) -> float:
        """Wait before the next try; how long to wait the next time."""
        hurry = self._hurry
        try:
            async with asyncio.timeout(delay_s * random.uniform(0.5, 1.0)):  # noqa: S311
                await hurry.wait()
        except TimeoutError:
            return min(2 * delay_s, _MAX_RETRY_S)
        return _FIRST_RETRY_S


def _retry_after_s(error: CodedError) -> int:
    """When the server wants to be asked again; 0: never, or when the payment is long over."""
    if not isinstance(error, LimitError) or error.retry_after_s >= REQUEST_LIFETIME_S:
        return 0
    return error.retry_after_s

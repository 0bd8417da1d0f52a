"""The published client of the server: what terminals and phones call (docs/api.md).

It imports no web framework and no database. ``ServerClient`` is one device's connection. It has a
method for each thing that a device may ask, with typed answers, and below them ``submit``,
``send``, ``get`` and ``events`` for agents that keep every statement before they send it.
``python -m server.client`` signs what a program in another language, or curl, sends. Errors::

    CodedError               the server refused: act on its code
    LimitError               one of these: not before ``retry_after_s`` again
    ServerUnreachableError   no answer: the statement may or may not have arrived; send it again
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from server.answers import (
    EnrolledAnswer,
    JackAnswer,
    JackList,
    PairedAnswer,
    PaymentAnswer,
    PaymentList,
    PaymentMethodAnswer,
    PaymentMethodList,
    RefundAnswer,
    RefundList,
)
from server.connection import ServerConnection, ServerEvent, statement_builder
from server.contact import EnrolmentCode, ServerPin, ServerUnreachableError, meet
from twochannel.protocol.envelope import Statement, digest, unverified_claims
from twochannel.protocol.instructions import (
    Coupling,
    MemberRemoval,
    MethodDefault,
    MethodRemoval,
    Release,
    Uncoupling,
)
from twochannel.protocol.limits import REQUEST_LIFETIME_S
from twochannel.protocol.money import Amount
from twochannel.protocol.payment import CaptureMode
from twochannel.protocol.statements import (
    Cancel,
    Capture,
    Confirmation,
    DecidedBy,
    Decision,
    Enrolment,
    Method,
    PairingAcceptance,
    PaymentRequest,
    Refund,
    Role,
    SightingReport,
    Timed,
)

__all__ = [
    "EnrolledAnswer",
    "EnrolmentCode",
    "JackAnswer",
    "PairedAnswer",
    "PaymentAnswer",
    "PaymentMethodAnswer",
    "RefundAnswer",
    "ServerClient",
    "ServerEvent",
    "ServerPin",
    "ServerUnreachableError",
    "meet",
    "path_of",
    "statement_builder",
]

A = TypeVar("A", bound=BaseModel)
Keep = Callable[[str], None]

#: Where each statement of a device goes; ``{sub}``: what it is about.
PATHS: Final[dict[type[Statement], str]] = {
    Enrolment: "/v1/enrolments",
    PairingAcceptance: "/v1/pairings",
    Method: "/v1/payment-methods",
    MethodDefault: "/v1/payment-methods/{sub}/default",
    MethodRemoval: "/v1/payment-methods/{sub}/removal",
    Coupling: "/v1/couplings",
    Uncoupling: "/v1/uncouplings",
    Release: "/v1/releases",
    MemberRemoval: "/v1/member-removals",
    PaymentRequest: "/v1/payments",
    Confirmation: "/v1/payments/{sub}/confirmation",
    Capture: "/v1/payments/{sub}/captures",
    Cancel: "/v1/payments/{sub}/cancellation",
    Refund: "/v1/payments/{sub}/refunds",
}


def _forget(_compact: str) -> None:
    """For statements that may be lost with the process: made anew, they do no harm."""


class ServerClient(ServerConnection):
    """One device's connection to its pinned server, and what the device may ask there.

    What moves money takes ``keep``, which is given the signed statement before it is sent: from
    disk it can be sent again after a crash (``send``), and is still one and the same order. All
    methods raise CodedError and ServerUnreachableError.
    """

    async def enrol(
        self, role: Role, code: EnrolmentCode, *, keep: Keep = _forget
    ) -> EnrolledAnswer:
        """Become known with the operator's one-time code."""
        statement = self.draft(Enrolment, role=role, key=self.signer.key.jwk, code=code.code)
        return await self._order(statement, EnrolledAnswer, keep)

    async def payment(self, payment: str, *, wait_s: int = 0) -> PaymentAnswer:
        """A payment of this device's."""
        return await self._read(PaymentAnswer, f"/v1/payments/{payment}", wait_s=wait_s)

    async def payments(
        self, *, reference: str | None = None, active: bool = False
    ) -> AsyncIterator[PaymentAnswer]:
        """This device's payments, newest first; only those of a reference, or not yet over."""
        query = {"limit": "100"} | ({"active": "true"} if active else {})
        if reference is not None:
            query["reference"] = reference
        while True:
            page = await self._read(PaymentList, "/v1/payments", query=query)
            for payment in page.items:
                yield payment
            if page.next_cursor is None:
                return
            query["cursor"] = page.next_cursor

    async def refunds(self, payment: str) -> list[RefundAnswer]:
        """What was given back of a payment, the oldest first."""
        return (await self._read(RefundList, f"/v1/payments/{payment}/refunds")).items

    # --- terminals

    async def request_payment(
        self,
        payment: str,
        *,
        code: str,
        lane: str,
        lane_digest: str,
        amount: Amount,
        capture: CaptureMode,
        reference: str,
        sighting: SightingReport,
        keep: Keep,
        description: str = "",
        wait_s: int = 0,
    ) -> PaymentAnswer:
        """Ask whoever uses ``code`` for ``amount``. ``payment``: a new UUIDv7, which names it."""
        request = self.draft(
            PaymentRequest,
            jti=payment,
            sub=payment,
            code=code,
            lane=lane,
            lane_digest=lane_digest,
            amount=amount,
            capture=capture,
            reference=reference,
            description=description,
            sighting=sighting,
        )
        return await self._order(request, PaymentAnswer, keep, wait_s)

    async def capture(
        self, request: str, amount: Amount, *, keep: Keep, wait_s: int = 0
    ) -> PaymentAnswer:
        """Take ``amount`` of what is held. ``request``: the payment's, as it was sent."""
        statement = self.draft(Capture, **_about(request), amount=amount)
        return await self._order(statement, PaymentAnswer, keep, wait_s)

    async def cancel(
        self, request: str, *, keep: Keep, reason: str = "", wait_s: int = 0
    ) -> PaymentAnswer:
        """End a payment, or release what it holds."""
        statement = self.draft(Cancel, **_about(request), reason=reason)
        return await self._order(statement, PaymentAnswer, keep, wait_s)

    async def refund(
        self, request: str, amount: Amount, reference: str, *, keep: Keep, wait_s: int = 0
    ) -> RefundAnswer:
        """Give ``amount`` back. ``reference``: the till's name of it, used once in a payment."""
        statement = self.draft(Refund, **_about(request), amount=amount, reference=reference)
        return await self._order(statement, RefundAnswer, keep, wait_s)

    # --- phones

    async def pair(self, jack: str, pairing: str, *, keep: Keep = _forget) -> PairedAnswer:
        """Accept the pairing statement of ``jack``."""
        statement = self.draft(PairingAcceptance, sub=jack, pairing=pairing)
        return await self._order(statement, PairedAnswer, keep)

    async def approve(
        self,
        challenge: str,
        auth_code: str,
        payment_method: str,
        *,
        keep: Keep,
        decided_by: DecidedBy = DecidedBy.OWNER,
        wait_s: int = 0,
    ) -> PaymentAnswer:
        """Confirm what ``challenge`` asks, with the jack's answer to it (both compact)."""
        statement = self.draft(
            Confirmation,
            **_about_challenge(challenge),
            decision=Decision.APPROVE,
            decided_by=decided_by,
            auth_code=auth_code,
            payment_method=payment_method,
        )
        return await self._order(statement, PaymentAnswer, keep, wait_s)

    async def decline(
        self, challenge: str, *, keep: Keep, decided_by: DecidedBy = DecidedBy.OWNER
    ) -> PaymentAnswer:
        """Say no to what ``challenge`` (compact) asks."""
        statement = self.draft(
            Confirmation,
            **_about_challenge(challenge),
            decision=Decision.DECLINE,
            decided_by=decided_by,
            auth_code=None,
            payment_method=None,
        )
        return await self._order(statement, PaymentAnswer, keep)

    async def add_method(
        self, token: str, label: str, *, keep: Keep = _forget
    ) -> PaymentMethodAnswer:
        """Register a payment method that the processor has made ``token`` of."""
        statement = self.draft(Method, token=token, label=label)
        return await self._order(statement, PaymentMethodAnswer, keep)

    async def methods(self) -> list[PaymentMethodAnswer]:
        """The owner's payment methods, the default first."""
        return (await self._read(PaymentMethodList, PATHS[Method])).items

    async def choose_method(self, method: str, *, keep: Keep = _forget) -> PaymentMethodAnswer:
        """Pay with ``method`` from now on."""
        return await self._order(self.draft(MethodDefault, sub=method), PaymentMethodAnswer, keep)

    async def remove_method(self, method: str, *, keep: Keep = _forget) -> PaymentMethodAnswer:
        """Pay with ``method`` no more."""
        return await self._order(self.draft(MethodRemoval, sub=method), PaymentMethodAnswer, keep)

    async def couple(
        self, method: str, challenge: str, answer: str, *, keep: Keep = _forget
    ) -> PaymentMethodAnswer:
        """Pay with ``method`` for the jack that answered ``challenge`` (``coupling_challenge``)."""
        statement = self.draft(Coupling, sub=method, challenge=challenge, answer=answer)
        return await self._order(statement, PaymentMethodAnswer, keep)

    async def uncouple(
        self, method: str, jack: str, *, keep: Keep = _forget
    ) -> PaymentMethodAnswer:
        """Do not pay with ``method`` for ``jack`` in particular any more."""
        statement = self.draft(Uncoupling, sub=method, jack=jack)
        return await self._order(statement, PaymentMethodAnswer, keep)

    async def jacks(self) -> list[JackAnswer]:
        """The jacks that are paired with this phone."""
        return (await self._read(JackList, "/v1/jacks")).items

    async def release(self, jack: str, epoch: int, *, keep: Keep = _forget) -> JackAnswer:
        """Answer for ``jack`` no more, in the ``epoch`` of its pairing."""
        return await self._order(self.draft(Release, sub=jack, epoch=epoch), JackAnswer, keep)

    async def remove_member(
        self, jack: str, epoch: int, phone: str, *, keep: Keep = _forget
    ) -> JackAnswer:
        """Let another phone answer for ``jack`` no more: this one is its owner's."""
        key = self.signer.key.jwk
        statement = self.draft(MemberRemoval, sub=jack, epoch=epoch, phone=phone, key=key)
        return await self._order(statement, JackAnswer, keep)

    # --- how

    async def _order(self, statement: Timed, model: type[A], keep: Keep, wait_s: int = 0) -> A:
        path = path_of(statement)

        def at(now_s: int) -> Timed:
            times = {"iat": now_s, "exp": now_s + REQUEST_LIFETIME_S}
            return statement.model_copy(update=times)

        build = statement_builder(at, self.signer, keep)
        return _answer(model, await self.submit(path, build, wait_s=wait_s))

    async def _read(
        self, model: type[A], path: str, *, query: dict[str, str] | None = None, wait_s: int = 0
    ) -> A:
        return _answer(model, await self.get(path, query=query, wait_s=wait_s))


def path_of(statement: Statement) -> str:
    """Where a statement of a device is sent. KeyError: none that the server takes by itself."""
    return PATHS[type(statement)].format(sub=getattr(statement, "sub", ""))


def _about(request: str) -> dict[str, object]:
    """The claims that name the payment of a request, compact."""
    return {"sub": unverified_claims(request)["jti"], "prev": digest(request)}


def _about_challenge(challenge: str) -> dict[str, object]:
    return {"sub": unverified_claims(challenge)["sub"], "prev": digest(challenge)}


def _answer(model: type[A], members: dict[str, Any]) -> A:
    """Of an answer what this version knows: a newer server may tell more."""
    try:
        return model.model_validate(members, extra="ignore")
    except ValidationError as error:
        raise ServerUnreachableError(
            f"the server's answer is no {model.__name__}: {error.error_count()} members are wrong"
        ) from None


if __name__ == "__main__":
    from server.client_commands import main

    main()

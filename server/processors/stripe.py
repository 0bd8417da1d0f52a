"""The card processor Stripe: charges are PaymentIntents, payment methods belong to a customer.

A payment method serves one charge, unless it is attached to a customer; so each is given one of its
own (``keep``), and what is stored of it is ``cus_…/pm_…``. Payment and idempotency key of an order
stand in the metadata of what it made, which is how it is found again.

Orders carry Stripe's idempotency keys, which it keeps for at least 24 hours. Whatever Stripe
answers is compared with what was asked before it is believed.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeVar

import stripe
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from server.processors.port import (
    Abilities,
    Approved,
    CaptureOrder,
    ChargeOrder,
    ContradictionError,
    Order,
    Outcome,
    OutcomeUnknownError,
    RefundOrder,
    Refused,
    VoidOrder,
)
from server.processors.stripe_connection import (
    RefusedError,
    StripeConnection,
    plain_code,
)
from twochannel.protocol.payment import CaptureMode

#: Stripe may forget keys after a day: docs.stripe.com/api/idempotent_requests.
_RETENTION_S: Final = 24 * 3600
#: Objects in one answer of a list; Stripe gives no more.
_PAGE: Final = 100
_SEPARATOR: Final = "/"

_Minor = Annotated[int, Field(strict=True, ge=0)]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    id: Annotated[str, Field(min_length=1, max_length=255)]


class _Marked(_Answer):
    """What may be of one of our orders, and which."""

    metadata: dict[str, str]


class _Made(_Marked):
    """What an order made."""

    status: str | None
    amount: _Minor
    currency: str


class _Problem(BaseModel):
    code: str | None = None


class _Intent(_Made):
    amount_received: _Minor
    last_payment_error: _Problem | None = None


class _Refund(_Made):
    failure_reason: str | None = None


A = TypeVar("A", bound=_Answer)


class StripeProcessor:
    """A ``Processor`` over Stripe's API at ``url``, with the secret ``key``."""

    abilities = Abilities(idempotency=True, lookup=True, retention_s=_RETENTION_S)

    def __init__(self, key: str, *, url: str, timeout_s: float) -> None:
        self._connection = StripeConnection(key, url, timeout_s)
        self._api = self._connection.api

    async def close(self) -> None:
        await self._connection.close()

    async def charge(self, order: ChargeOrder) -> Outcome:
        customer, _, method = order.token.partition(_SEPARATOR)
        call = self._api.payment_intents.create_async(
            {
                "amount": order.amount_minor,
                "currency": order.currency.lower(),
                "customer": customer,
                "payment_method": method,
                "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
                "capture_method": _CAPTURE_METHODS[order.capture],
                "confirm": True,
                "off_session": True,
                "metadata": _metadata(order),
            },
            {"idempotency_key": order.idempotency_key},
        )
        try:
            intent = _read(_Intent, await self._connection.ask(call))
        except RefusedError as refused:
            return Refused(refused.code)
        if intent.status == "requires_action":
            # Nobody is there to follow it, and it must not be paid later without us.
            return await self._withdraw(order, intent)
        return _charged(order, intent)

    async def capture(self, order: CaptureOrder) -> Outcome:
        call = self._api.payment_intents.capture_async(
            order.reference,
            {"amount_to_capture": order.amount_minor},
            {"idempotency_key": order.idempotency_key},
        )
        try:
            intent = _read(_Intent, await self._connection.ask(call))
        except RefusedError as refused:
            return await self._lookup_hold(order) or Refused(refused.code)
        return _definite(_captured(order, intent), intent)

    async def void(self, order: VoidOrder) -> Outcome:
        call = self._api.payment_intents.cancel_async(
            order.reference, {}, {"idempotency_key": order.idempotency_key}
        )
        try:
            intent = _read(_Intent, await self._connection.ask(call))
        except RefusedError as refused:
            return await self._lookup_hold(order) or Refused(refused.code)
        return _definite(_voided(order, intent), intent)

    async def refund(self, order: RefundOrder) -> Outcome:
        call = self._api.refunds.create_async(
            {
                "payment_intent": order.reference,
                "amount": order.amount_minor,
                "metadata": _metadata(order),
            },
            {"idempotency_key": order.idempotency_key},
        )
        try:
            return _refunded(order, _read(_Refund, await self._connection.ask(call)))
        except RefusedError as refused:
            return Refused(refused.code)

    async def lookup(self, order: Order) -> Outcome | None:
        try:
            match order:
                case ChargeOrder():
                    return await self._lookup_charge(order)
                case CaptureOrder() | VoidOrder():
                    return await self._lookup_hold(order)
                case RefundOrder():
                    return await self._lookup_refund(order)
        except RefusedError as refused:
            # A question moves nothing: that it was refused tells nothing of the order.
            raise OutcomeUnknownError(f"Stripe does not say: {refused.code}") from None

    async def keep(self, method_id: str, token: str) -> str | Refused:
        create = self._api.customers.create_async(
            {"metadata": {"payment_method": method_id}}, {"idempotency_key": f"{method_id}:keep"}
        )
        try:
            customer = _read(_Answer, await self._connection.ask(create))
            attach = self._api.payment_methods.attach_async(
                token, {"customer": customer.id}, {"idempotency_key": f"{method_id}:attach"}
            )
            method = _read(_Answer, await self._connection.ask(attach))
        except RefusedError as refused:
            return Refused(refused.code)
        return f"{customer.id}{_SEPARATOR}{method.id}"

    async def forget(self, kept: str) -> None:
        _, _, method = kept.partition(_SEPARATOR)
        try:
            await self._connection.ask(self._api.payment_methods.detach_async(method))
        except RefusedError as refused:
            if refused.declined:
                raise OutcomeUnknownError(f"Stripe did not detach it: {refused.code}") from None

    async def _withdraw(self, order: ChargeOrder, intent: _Intent) -> Outcome:
        """Cancel what waits for its owner at a bank's page."""
        _demand_same(order, intent)
        call = self._api.payment_intents.cancel_async(
            intent.id, {}, {"idempotency_key": f"{order.idempotency_key}:withdraw"}
        )
        try:
            canceled = _read(_Intent, await self._connection.ask(call))
        except RefusedError:
            raise _undecided(intent) from None
        return _charged(order, canceled)

    async def _lookup_charge(self, order: ChargeOrder) -> Outcome | None:
        customer, _, _ = order.token.partition(_SEPARATOR)
        pages = self._api.payment_intents.list_async({"customer": customer, "limit": _PAGE})
        found = await self._find(_Intent, order, await self._connection.ask(pages))
        if found is not None and found.status == "requires_action":
            return await self._withdraw(order, found)
        return None if found is None else _charged(order, found)

    async def _lookup_hold(self, order: CaptureOrder | VoidOrder) -> Outcome | None:
        call = self._api.payment_intents.retrieve_async(order.reference)
        intent = _read(_Intent, await self._connection.ask(call))
        return (
            _captured(order, intent) if isinstance(order, CaptureOrder) else _voided(order, intent)
        )

    async def _lookup_refund(self, order: RefundOrder) -> Outcome | None:
        pages = self._api.refunds.list_async({"payment_intent": order.reference, "limit": _PAGE})
        found = await self._find(_Refund, order, await self._connection.ask(pages))
        return None if found is None else _refunded(order, found)

    async def _find(self, model: type[A], order: Order, page: Any) -> A | None:
        """What carries the order's key, on this page or a later one."""
        while True:
            items: object = getattr(page, "data", None)
            if not isinstance(page, stripe.ListObject) or not isinstance(items, list):
                raise OutcomeUnknownError("the answer is no list of Stripe's")
            for item in items:
                if _read(_Marked, item).metadata.get("key") == order.idempotency_key:
                    return _read(model, item)
            if not page.has_more:
                return None
            page = await self._connection.ask(page.next_page_async())


_CAPTURE_METHODS: Final[dict[CaptureMode, Any]] = {
    CaptureMode.AUTOMATIC: "automatic",
    CaptureMode.MANUAL: "manual",
}


def _metadata(order: Order) -> dict[str, str]:
    return {"payment": order.payment, "key": order.idempotency_key}


def _members(answer: object) -> dict[str, Any]:
    """The members of an object of Stripe's. Raises OutcomeUnknownError."""
    if not isinstance(answer, stripe.StripeObject):
        raise OutcomeUnknownError("the answer is no object of Stripe's")
    return answer.to_dict()


def _read(model: type[A], answer: object) -> A:
    """Raises OutcomeUnknownError for what cannot be read."""
    try:
        return model.model_validate(_members(answer))
    except ValidationError as error:
        where = ", ".join(sorted({str(problem["loc"][0]) for problem in error.errors()}))
        raise OutcomeUnknownError(f"the answer cannot be read: {where}") from None


def _demand_same(order: ChargeOrder | RefundOrder, made: _Made) -> None:
    """What the order made is what was ordered. Raises ContradictionError."""
    told = (made.metadata.get("payment"), made.metadata.get("key"), made.amount, made.currency)
    asked = (order.payment, order.idempotency_key, order.amount_minor, order.currency.lower())
    if told != asked:
        raise ContradictionError(f"Stripe's {made.id} is not what was ordered")


def _demand_of(order: CaptureOrder | VoidOrder, intent: _Intent) -> None:
    """The answer is about the hold that was named. Raises ContradictionError."""
    told = (intent.id, intent.metadata.get("payment"))
    if told != (order.reference, order.payment):
        raise ContradictionError(f"Stripe's {intent.id} is not {order.reference} of the payment")


def _charged(order: ChargeOrder, intent: _Intent) -> Outcome:
    _demand_same(order, intent)
    match intent.status:
        case "succeeded" if order.capture is CaptureMode.AUTOMATIC:
            return Approved(intent.id, intent.amount_received)
        case "requires_capture" if order.capture is CaptureMode.MANUAL:
            return Approved(intent.id, intent.amount)
        case "succeeded" | "requires_capture":
            raise ContradictionError(f"Stripe's {intent.id} is {intent.status}")
        case "requires_payment_method":
            problem = intent.last_payment_error or _Problem()
            return Refused(plain_code(problem.code, "card_declined"))
        case "canceled":
            return Refused("authentication_required")
        case _:
            raise _undecided(intent)


def _captured(order: CaptureOrder, intent: _Intent) -> Outcome | None:
    _demand_of(order, intent)
    if intent.currency != order.currency.lower():
        raise ContradictionError(f"Stripe's {intent.id} is in {intent.currency}")
    match intent.status:
        case "succeeded":
            return Approved(intent.id, intent.amount_received)
        case "canceled":
            return Refused("charge_voided")
        case "requires_capture":
            return None
        case _:
            raise _undecided(intent)


def _voided(order: VoidOrder, intent: _Intent) -> Outcome | None:
    _demand_of(order, intent)
    match intent.status:
        case "canceled":
            return Approved(intent.id, intent.amount)
        case "succeeded":
            return Refused("charge_captured")
        case "requires_capture":
            return None
        case _:
            raise _undecided(intent)


def _refunded(order: RefundOrder, refund: _Refund) -> Outcome:
    """Of one that is still on its way nobody knows yet whether it arrives."""
    _demand_same(order, refund)
    match refund.status:
        case "succeeded":
            return Approved(refund.id, refund.amount)
        case "failed" | "canceled":
            return Refused(plain_code(refund.failure_reason, "refund_failed"))
        case _:
            raise _undecided(refund)


def _undecided(made: _Made) -> OutcomeUnknownError:
    """Stripe itself has not decided yet."""
    return OutcomeUnknownError(f"Stripe's {made.id} is {made.status or 'without a state'}")


def _definite(outcome: Outcome | None, made: _Made) -> Outcome:
    """Of an order that was answered. Raises OutcomeUnknownError."""
    if outcome is None:
        raise _undecided(made)
    return outcome

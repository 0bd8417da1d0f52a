"""What the server needs of a card processor (docs/protocol.md, Life cycle).

An adapter turns four orders into calls of its processor, and says of each what came of it: an
outcome, or one of four errors by what the caller does about it::

    ProcessorError
    +-- OutcomeUnknownError    time-out, lost or unreadable answer: it may have been done
    +-- ProcessorBusyError     certainly not done: order again later, with the same key
    +-- KeyConflictError       the key stands for another order: a person must look at it
    +-- ContradictionError     the answer is about something else: a person must look at it
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

from twochannel.protocol.payment import CaptureMode

STRIPE_URL: Final = "https://api.stripe.com"


class ProcessorError(Exception):
    """Base of what an adapter raises."""


class OutcomeUnknownError(ProcessorError):
    """Nobody can say from this call whether the order was carried out."""


class ProcessorBusyError(ProcessorError):
    """The processor took nothing on (HTTP 429 or 503, connection refused)."""


class KeyConflictError(ProcessorError):
    """The idempotency key was used for an order with other content."""


class ContradictionError(ProcessorError):
    """The processor answers about another payment, amount or currency than it was asked about."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a processor promises.

    ``idempotency``: the same order under the same key is carried out once, for ``retention_s``
    seconds after the first call. ``lookup``: it can be asked what became of a key.
    """

    idempotency: bool
    lookup: bool
    retention_s: int


#: Orders are not repeated in this last part of a processor's retention: calls last, clocks differ.
RETRY_MARGIN_S: Final = 600


def outdated(abilities: Abilities, created_ms: int, now_ms: int) -> bool:
    """Whether the processor, which had promised to remember an order, may have forgotten it."""
    promised_ms = (abilities.retention_s - RETRY_MARGIN_S) * 1000
    return abilities.idempotency and now_ms - created_ms >= promised_ms


def may_order_again(abilities: Abilities, created_ms: int, now_ms: int) -> bool:
    """Whether the processor would carry an order out once even if it has done so before."""
    return abilities.idempotency and not outdated(abilities, created_ms, now_ms)


@dataclass(frozen=True, slots=True)
class ChargeOrder:
    """Take ``amount_minor`` from the payment method, or only hold it (``capture`` manual)."""

    idempotency_key: str
    payment: str
    token: str = field(repr=False)
    amount_minor: int
    currency: str
    capture: CaptureMode


@dataclass(frozen=True, slots=True)
class CaptureOrder:
    """Take ``amount_minor`` of the hold ``reference`` and release the rest of it."""

    idempotency_key: str
    payment: str
    reference: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class VoidOrder:
    """Release the hold ``reference`` whole."""

    idempotency_key: str
    payment: str
    reference: str


@dataclass(frozen=True, slots=True)
class RefundOrder:
    """Give ``amount_minor`` of the captured charge ``reference`` back."""

    idempotency_key: str
    payment: str
    reference: str
    amount_minor: int
    currency: str


Order = ChargeOrder | CaptureOrder | VoidOrder | RefundOrder


@dataclass(frozen=True, slots=True)
class Approved:
    """Carried out. ``reference``: the processor's name of the charge, or of the refund.
    ``amount_minor``: held, captured, released or given back, as the order asked."""

    reference: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Not carried out, finally. ``reason``: the processor's code, such as ``card_declined``."""

    reason: str


Outcome = Approved | Refused


class Processor(Protocol):
    """One card processor. Every method raises ProcessorError and nothing else."""

    @property
    def abilities(self) -> Abilities: ...

    async def charge(self, order: ChargeOrder) -> Outcome: ...

    async def capture(self, order: CaptureOrder) -> Outcome: ...

    async def void(self, order: VoidOrder) -> Outcome:
        """Of a hold that was released before: carried out."""
        ...

    async def refund(self, order: RefundOrder) -> Outcome: ...

    async def lookup(self, order: Order) -> Outcome | None:
        """What became of this order; None: the processor has not carried it out."""
        ...

    async def keep(self, method_id: str, token: str) -> str | Refused:
        """Make ``token`` good for more than one charge; what to charge it by from then on.

        The same for the same ``method_id`` and token, however often it is asked.
        """
        ...

    async def forget(self, kept: str) -> None:
        """Of a payment method that its owner removed. It may be forgotten already."""
        ...


async def carry_out(processor: Processor, order: Order) -> Outcome:
    """Give ``order`` to the method that takes it. Raises ProcessorError."""
    match order:
        case ChargeOrder():
            return await processor.charge(order)
        case CaptureOrder():
            return await processor.capture(order)
        case VoidOrder():
            return await processor.void(order)
        case RefundOrder():
            return await processor.refund(order)

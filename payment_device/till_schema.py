"""What tills are answered, as schemas of the OpenAPI document. The answers themselves are built
elsewhere (``answers``, ``forecourt``); tests hold them against these."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from payment_device import fuel
from payment_device.fuel import Kind
from payment_device.intents import OperationPhase, Phase
from payment_device.orders import (
    CancelBody,
    CaptureBody,
    ChargeBody,
    FuelBody,
    PickBody,
    RefundBody,
)
from twochannel.protocol.money import Amount, MinorUnits
from twochannel.protocol.payment import CaptureMode, Status


class _Shown(BaseModel):
    """An answer. A later version may have further members."""

    model_config = ConfigDict(extra="allow")


class RefundShown(_Shown):
    """A refund. ``phase``: ``done`` once a receipt proves it, ``stored`` before."""

    id: str
    amount: Amount
    amount_text: str
    reference: str
    phase: OperationPhase


class PaymentShown(_Shown):
    """A payment. ``paid``: goods may leave, as a receipt proves.

    ``status``: the server's last word, null before it has the request. ``phase``: how far this
    terminal is; over unless stored, pending or processing. ``code``: why it came to nothing.
    ``match_code``: from the server's first answer on. ``under_way``: an operation that has no
    outcome yet. ``legs``: milliseconds as this terminal measured them.
    """

    id: str
    reference: str
    description: str
    amount: Amount
    amount_text: str
    capture: CaptureMode
    lane: str
    status: Status | None
    phase: Phase
    code: str | None
    paid: bool
    match_code: str | None
    reason: str | None
    authorized_minor: MinorUnits
    captured_minor: MinorUnits
    refunded_minor: MinorUnits
    receipt: str | None
    under_way: str | None
    refunds: list[RefundShown]
    legs: dict[str, float]


class PaymentWithRefund(PaymentShown):
    """A payment, and the refund that was asked for."""

    refund: RefundShown


class PaymentsShown(_Shown):
    """Payments, the newest first."""

    items: list[PaymentShown]


class JackShown(_Shown):
    """A jack as it is heard. ``handle`` picks it; it is no code that could be charged."""

    handle: str
    rssi_dbm: int
    age_ms: Annotated[int, Field(ge=0)]
    state: Annotated[str, Field(pattern="^(chosen|ambiguous|heard|quiet)$")]


class JacksShown(_Shown):
    """What is heard, strongest first. ``reason``: why no jack is chosen, else null."""

    items: list[JackShown]
    reason: str | None


class FuellingShown(_Shown):
    """One customer at the pump. ``phase``: asked, open and closed go on; unpaid waits for you.

    ``cost_minor``: of what was pumped so far. ``problem``: an error code, or a payment's status.
    """

    id: str
    kind: Kind
    reference: str
    phase: fuel.Phase
    jack: str | None
    payment: str | None
    most_minor: MinorUnits
    pumped_ml: Annotated[int, Field(ge=0)]
    cost_minor: MinorUnits
    currency: str
    price: str
    problem: str | None


class PumpShown(_Shown):
    """The pump, and the fuelling that has it or had it last. ``problem``: it does not answer."""

    price: str
    problem: str | None
    nozzle_lifted: bool | None
    released: bool | None
    fuelling: FuellingShown | None


class StatusShown(_Shown):
    """The terminal. ``payment``: the id of the one that nobody has decided yet, else null."""

    lane: str
    payment: str | None


class ProblemShown(_Shown):
    """RFC 9457, with a stable ``code`` and what to do next.

    ``payment``: with ``server_unreachable``, the payment that goes on all the same.
    ``candidates``: with ``jack_ambiguous``, the jacks to pick from.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    next_step: str
    payment: str | None = None
    candidates: list[dict[str, Any]] | None = None


#: Bodies and answers of the whole document.
MODELS: Final[tuple[type[BaseModel], ...]] = (
    ChargeBody,
    CaptureBody,
    CancelBody,
    RefundBody,
    FuelBody,
    PickBody,
    PumpShown,
    PaymentShown,
    PaymentWithRefund,
    PaymentsShown,
    JacksShown,
    StatusShown,
    ProblemShown,
)

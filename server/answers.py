"""The JSON that the server answers, for the OpenAPI document (docs/protocol.md, Server).

The doors build these answers as plain dictionaries from what the database holds; tests compare
them with these models.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from twochannel.protocol.keys import Thumbprint
from twochannel.protocol.money import Amount, MinorUnits
from twochannel.protocol.payment import CaptureMode, RefundStatus, Status
from twochannel.protocol.statements import (
    Compact,
    Counter,
    Label,
    Merchant,
    Name,
    Nonce,
    Text,
    Uuid,
)


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", defer_build=True)


class PaymentAnswer(_Answer):
    """A payment. ``operation``: capture or void under way. ``receipt``: the newest receipt."""

    id: Uuid
    status: Status
    amount: Amount
    capture: CaptureMode
    authorized_minor: MinorUnits
    captured_minor: MinorUnits
    refunded_minor: MinorUnits
    merchant: Merchant
    lane: Label
    reference: Name
    description: Text
    match_code: str
    operation: Literal["capture", "void"] | None
    reason: str | None
    created_ms: int
    settled_ms: int | None
    expires_s: int
    receipt: Compact | None


class PaymentList(_Answer):
    """Newest first. ``next_cursor`` asks for what comes after; null at the end."""

    items: list[PaymentAnswer]
    next_cursor: str | None


class RefundAnswer(_Answer):
    """A refund. ``receipt``: the payment's receipt that answers it, once it has succeeded."""

    id: Uuid
    payment: Uuid
    status: RefundStatus
    amount: Amount
    reference: Name
    requested_by: Literal["terminal", "operator"]
    reason: str | None
    created_ms: int
    settled_ms: int | None
    receipt: Compact | None


class RefundList(_Answer):
    """A payment's refunds, the oldest first."""

    items: list[RefundAnswer]


class BeaconParameters(_Answer):
    rotation_exponent: int
    service_uuid: str


class JwkSet(_Answer):
    keys: list[dict[str, str]]


class WellKnown(_Answer):
    """What a device reads before it trusts the server; the identity statement proves it.

    ``lineage``: the server's first identity, and each succession since.
    """

    server: Thumbprint
    identity: Compact
    lineage: list[Compact]
    jwks: JwkSet
    api_base: str
    beacon: BeaconParameters
    time_ms: int


class Health(_Answer):
    ok: bool


class EnrolledAnswer(_Answer):
    """``lane`` and ``merchant`` for terminals only."""

    id: Thumbprint
    role: Literal["phone", "terminal"]
    server: Thumbprint
    lane: Label | None = None
    merchant: Merchant | None = None


class PairedAnswer(_Answer):
    jack: Thumbprint
    phone: Thumbprint
    epoch: Counter


class PaymentMethodAnswer(_Answer):
    """``default``: the one that its owner pays with. ``jacks``: to which it is coupled."""

    id: Uuid
    label: Label
    default: bool
    jacks: list[Thumbprint]
    created_ms: int
    removed_ms: int | None


class JackPhone(_Answer):
    """A phone of a jack. ``owner``: else it is a member. ``since_ms``: when it was paired."""

    phone: Thumbprint
    label: Label
    owner: bool
    since_ms: int


class JackAnswer(_Answer):
    """A jack of a phone. ``epoch``: of their pairing.

    ``phones``: all of them, for the owner's; a member is told of itself alone.
    """

    jack: Thumbprint
    epoch: Counter
    paired_ms: int
    released_ms: int | None
    phones: list[JackPhone] = []


class JackList(_Answer):
    items: list[JackAnswer]


class PaymentMethodList(_Answer):
    items: list[PaymentMethodAnswer]


class CouplingRequest(_Answer):
    """A payment method and a jack of the phone that asks."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    method: Uuid
    jack: Thumbprint


class EventAnswer(_Answer):
    """``received``: the event's id."""

    received: str


class TimeRequest(_Answer):
    """``nonce``: what the jack handed out, 16 bytes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    jack: Thumbprint
    nonce: Nonce


class Problem(_Answer):
    """RFC 9457. ``code`` is stable, ``next_step`` says what the caller should do."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    next_step: str
    server_time_ms: int

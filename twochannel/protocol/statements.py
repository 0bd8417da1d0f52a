"""The statements of the method: who says what to whom (docs/protocol.md, Statements).

The five of a payment form a chain, each naming the hash (``prev``) of the one it answers::

    payment request -> challenge -> auth code -> confirmation -> receipt
     (terminal)        (server)      (jack)       (phone)        (server)

The others carry trust (identity, enrolment, pairing), time, further operations, and proofs of
a device's key for plain requests.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Final, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from twochannel.protocol.card_numbers import holds_card_number
from twochannel.protocol.envelope import Statement
from twochannel.protocol.keys import Jwk, Thumbprint
from twochannel.protocol.money import Amount, MinorUnits, check_currency
from twochannel.protocol.payment import CaptureMode, Status

#: Letters that show nothing, which Unicode counts as printable: fillers, joiners, a blank pattern.
_BLANK_LETTERS: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")


def _plain_text(text: str) -> str:
    """Refuse control, format and exotic space characters: text cannot pretend to be other text."""
    if not text.isprintable() or not _BLANK_LETTERS.isdisjoint(text):
        raise ValueError("control or invisible characters")
    return text


def _no_card_number(text: str) -> str:
    if holds_card_number(text):
        raise PydanticCustomError("card_number", "looks like a card number")
    return text


def _sized(pattern: str) -> StringConstraints:
    return StringConstraints(pattern=pattern)


def _enum(kind: type[StrEnum]) -> BeforeValidator:
    """Strict models take enum members only; on the wire they are their values."""

    def read(value: object) -> object:
        return kind(value) if isinstance(value, str) and value in set(kind) else value

    return BeforeValidator(read)


#: UUID in its canonical lower-case form. Payments and statements use version 7 (RFC 9562).
Uuid = Annotated[
    str, _sized(r"^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
]
#: SHA-256 of a statement's text or of a lane nonce, base64url.
Digest = Annotated[str, _sized(r"^[A-Za-z0-9_-]{43}$")]
#: Beacon code, 8 bytes in lower-case hex.
BeaconCode = Annotated[str, _sized(r"^[0-9a-f]{16}$")]
#: 16 random bytes, base64url.
Nonce = Annotated[str, _sized(r"^[A-Za-z0-9_-]{22}$")]
#: 12 random bytes, base64url.
LaneNonce = Annotated[str, _sized(r"^[A-Za-z0-9_-]{16}$")]
#: SHA-256 of a DER certificate, lower-case hex, as browsers and openssl show it.
Fingerprint = Annotated[str, _sized(r"^[0-9a-f]{64}$")]
#: A nested statement; its own verification bounds its size again.
Compact = Annotated[str, _sized(r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$")]
#: DER, base64url. Its length is no part of the pattern: counted there, it costs half a megabyte.
Certificate = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$", min_length=200, max_length=2000)
]
Label = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_plain_text)]
Text = Annotated[str, StringConstraints(max_length=140), AfterValidator(_plain_text)]
Name = Annotated[str, _sized(r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")]
#: Unix seconds up to the year 9999.
Seconds = Annotated[int, Field(ge=0, lt=253_402_300_800)]
Counter = Annotated[int, Field(ge=1, lt=2**53)]


class Decision(StrEnum):
    APPROVE = "approve"
    DECLINE = "decline"


class DecidedBy(StrEnum):
    """Who decided on the phone: the owner, the owner's policy, or nobody in time."""

    OWNER = "owner"
    POLICY = "policy"
    TIMEOUT = "timeout"


class Role(StrEnum):
    JACK = "jack"
    PHONE = "phone"
    SERVER = "server"
    TERMINAL = "terminal"


class Presence(StrEnum):
    """A merchant's policy on presence: refuse without it, or let the owner decide."""

    REQUIRE = "require"
    PREFER = "prefer"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class SightingReport(_Part):
    """How the terminal heard the jack: evidence, never a reason to pay."""

    rssi_dbm: Annotated[int, Field(ge=-127, le=20)]
    heard_ms_ago: Annotated[int, Field(ge=0, le=3_600_000)]
    other_jacks: Annotated[int, Field(ge=0, le=10_000)]


class Merchant(_Part):
    """Registered at the server: ``name`` is what people are shown."""

    id: Name
    name: Label


class Addressed(Statement):
    """From one party to another; ``jti`` is its own id."""

    iss: Thumbprint
    aud: Thumbprint
    jti: Uuid


class Timed(Addressed):
    """Made at ``iat``, good until ``exp``."""

    iat: Seconds
    exp: Seconds

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.exp <= self.iat:
            raise ValueError("exp is not after iat")
        return self


class PaymentRequest(Timed):
    """1: terminal to server. ``jti`` is the payment id; ``sub`` repeats it."""

    TYP: ClassVar[str] = "payment-request+jwt"

    sub: Uuid
    code: BeaconCode
    amount: Amount
    capture: Annotated[CaptureMode, _enum(CaptureMode)]
    lane: Label
    lane_digest: Digest
    reference: Name
    description: Text = ""
    sighting: SightingReport

    @model_validator(mode="after")
    def _names_itself(self) -> Self:
        if self.sub != self.jti:
            raise ValueError("sub and jti must both be the payment id")
        return self


class Challenge(Timed):
    """2: server to jack, by way of the phone, which shows it to the owner."""

    TYP: ClassVar[str] = "challenge+jwt"

    sub: Uuid
    prev: Digest
    amount: Amount
    capture: Annotated[CaptureMode, _enum(CaptureMode)]
    merchant: Merchant
    lane: Label
    lane_digest: Digest
    presence: Annotated[Presence, _enum(Presence)]
    phone: Thumbprint
    nonce: Nonce
    match_code: Annotated[str, _sized(r"^[0-9]{2}$")]


class AuthCode(Addressed):
    """3: jack's chip to server, by way of the phone. The jack's clock plays no part in it."""

    TYP: ClassVar[str] = "auth-code+jwt"

    sub: Uuid
    prev: Digest
    counter: Counter
    epoch: Counter
    lane_nonce: LaneNonce | None
    phone: Thumbprint


class Confirmation(Timed):
    """4: phone to server: the owner's decision, with the auth code inside.

    ``prev`` names the challenge. An approval needs an auth code and a payment method; a
    declining phone may send the auth code as evidence of what the jack heard.
    """

    TYP: ClassVar[str] = "confirmation+jwt"

    sub: Uuid
    prev: Digest
    decision: Annotated[Decision, _enum(Decision)]
    decided_by: Annotated[DecidedBy, _enum(DecidedBy)]
    auth_code: Compact | None
    payment_method: Uuid | None

    @model_validator(mode="after")
    def _approval_is_whole(self) -> Self:
        approves = self.decision is Decision.APPROVE
        if approves and (self.auth_code is None or self.payment_method is None):
            raise ValueError("an approval needs an auth code and a payment method")
        if approves and self.decided_by is DecidedBy.TIMEOUT:
            raise ValueError("nobody approves by time-out")
        return self


class Receipt(Addressed):
    """5: server to terminal and phone: what came of it. ``prev`` names what caused it."""

    TYP: ClassVar[str] = "receipt+jwt"

    sub: Uuid
    iat: Seconds
    prev: Digest
    status: Annotated[Status, _enum(Status)]
    currency: Annotated[str, AfterValidator(check_currency)]
    authorized_minor: MinorUnits
    captured_minor: MinorUnits
    refunded_minor: MinorUnits
    processor_reference: Name | None


class Capture(Timed):
    """Terminal to server: take ``amount``, at most what was authorised; release the rest.

    ``prev`` names the terminal's own payment request.
    """

    TYP: ClassVar[str] = "capture+jwt"

    sub: Uuid
    prev: Digest
    amount: Amount


class Cancel(Timed):
    """Terminal to server: end a pending payment, or void a hold. ``prev`` as in Capture.

    The server signs one itself where its operator cancels.
    """

    TYP: ClassVar[str] = "cancel+jwt"

    sub: Uuid
    prev: Digest
    reason: Text = ""


class Refund(Timed):
    """Terminal to server: give ``amount`` back, at most what was captured and is not given back.

    ``jti`` is the refund's id, ``prev`` as in Capture, ``reference`` the till's own name for the
    refund. The server signs one itself where its operator refunds.
    """

    TYP: ClassVar[str] = "refund+jwt"

    sub: Uuid
    prev: Digest
    amount: Amount
    reference: Name
    reason: Text = ""

    @staticmethod
    def usual_reference(amount: Amount) -> str:
        """Of a refund that nobody has named: asked for twice, it is given back once."""
        return f"refund-{amount.value}"


class Identity(Statement):
    """A jack or server about itself, signed with ``key``: its other keys and its certificate.

    Without time claims, for a jack has no clock before it has met its owner. ``iss`` is the
    party's id: the thumbprint of ``key``, or for a server of the first key that it ever had.
    """

    TYP: ClassVar[str] = "identity+jwt"

    iss: Thumbprint
    jti: Uuid
    role: Annotated[Role, _enum(Role)]
    key: Jwk
    beacon_key: Jwk
    tls_sha256: Fingerprint
    rotation_exponent: Annotated[int, Field(ge=0, le=15)] | None = None


class Enrolment(Timed):
    """Terminal or phone to server: proof that it holds ``key``, with the operator's code."""

    TYP: ClassVar[str] = "enrolment+jwt"

    role: Annotated[Role, _enum(Role)]
    key: Jwk
    code: Nonce


class PairingRequest(Addressed):
    """Phone to jack, in the pairing window, over TLS that shows the identity on the label.

    ``server``: the server's identity statement, which the jack pins. ``tls_certificate``: the
    phone's client certificate (DER, base64url), which the jack pins too.
    """

    TYP: ClassVar[str] = "pairing-request+jwt"

    key: Jwk
    claim_secret: Nonce | None
    server: Compact
    tls_certificate: Certificate


class Pairing(Addressed):
    """Jack to server, by way of the phone: ``sub`` is the phone it belongs to from ``epoch`` on.

    ``owner``: null, or the phone that it belongs to already and that has invited ``sub``, which is
    then a member.
    """

    TYP: ClassVar[str] = "pairing+jwt"

    sub: Thumbprint
    identity: Compact
    epoch: Counter
    owner: Thumbprint | None = None


class PairingAcceptance(Timed):
    """Phone to server: the counter-signed pairing. Together they are the mapping of step 1."""

    TYP: ClassVar[str] = "pairing-acceptance+jwt"

    sub: Thumbprint
    pairing: Compact


class Time(Addressed):
    """Server to jack, by way of the phone: the time at which it answered ``nonce``."""

    TYP: ClassVar[str] = "time+jwt"

    nonce: Nonce
    time_ms: Annotated[int, Field(ge=0, lt=253_402_300_800_000)]


class Method(Timed):
    """Phone to server: register a payment method that the processor has tokenised.

    Neither ``token`` nor ``label`` may hold what looks like a card number.
    """

    TYP: ClassVar[str] = "payment-method+jwt"

    token: Annotated[Name, AfterValidator(_no_card_number)]
    label: Annotated[Label, AfterValidator(_no_card_number)]


class Proof(Timed):
    """A device about one plain HTTP request, as bearer: ``htm`` method, ``htu`` path and query."""

    TYP: ClassVar[str] = "proof+jwt"

    htm: Annotated[str, _sized(r"^[A-Z]{3,7}$")]
    htu: Annotated[str, StringConstraints(pattern=r"^/[!-~]*$", max_length=1024)]

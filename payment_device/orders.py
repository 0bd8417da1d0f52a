"""What a till asks for, and the statements that it becomes. Pure.

A till speaks JSON: amounts as ``{"value": 450, "currency": "EUR"}`` in minor units, or as a person
types them, ``{"amount": "4.50", "currency": "EUR"}``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
)

from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.lane import lane_digest
from twochannel.protocol.limits import MAX_WAIT_S, REQUEST_LIFETIME_S
from twochannel.protocol.money import Amount, parse_amount
from twochannel.protocol.payment import CaptureMode
from twochannel.protocol.statements import (
    Cancel,
    Capture,
    Name,
    PaymentRequest,
    Refund,
    SightingReport,
    Text,
)

#: What a report says of a code that was not heard here but typed in: the least that it can say.
UNHEARD: Final = SightingReport(rssi_dbm=-127, heard_ms_ago=3_600_000, other_jacks=0)
_MIN_RSSI_DBM: Final = -127
_MAX_OTHER_JACKS: Final = 10_000
_MAX_HEARD_MS_AGO: Final = 3_600_000


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @classmethod
    def read(cls, members: dict[str, object]) -> Self:
        """Validate what came as JSON. Raises StatementError (``claim_invalid``)."""
        try:
            return cls.model_validate(members)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in problem["loc"])
            raise StatementError(
                ErrorCode.CLAIM_INVALID, f"{where or 'the body'}: {problem['msg']}"
            ) from None


class TypedAmount(_Message):
    """An amount as a person types it."""

    amount: Annotated[str, StringConstraints(max_length=20)]
    currency: str


#: Either way of writing an amount.
_AnyAmount = Annotated[
    dict[str, object],
    WithJsonSchema({"oneOf": [Amount.model_json_schema(), TypedAmount.model_json_schema()]}),
]
_Handle = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{4}$")]
_WaitSeconds = Annotated[
    int,
    Field(ge=0, le=MAX_WAIT_S, description="For how long the answer may be held back."),
]


class ChargeBody(_Message):
    """What a till asks for. ``reference``: its own name of the payment, which is made once."""

    amount: _AnyAmount
    capture: Annotated[str, WithJsonSchema({"type": "string", "enum": list(CaptureMode)})] = (
        CaptureMode.AUTOMATIC.value
    )
    reference: Name
    description: Text = ""
    jack: _Handle | None = None
    code: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")] | None = None
    wait_s: _WaitSeconds = MAX_WAIT_S
    wait_for: Literal["answer", "outcome"] = "outcome"


class CaptureBody(_Message):
    """How much of a held payment to take."""

    amount: _AnyAmount
    wait_s: _WaitSeconds = MAX_WAIT_S


class CancelBody(_Message):
    """Why a payment is cancelled, for the records."""

    reason: Text = ""
    wait_s: _WaitSeconds = MAX_WAIT_S


class RefundBody(_Message):
    """How much to give back. ``reference``: the till's own name of the refund, made once."""

    amount: _AnyAmount
    reference: Name | None = None
    reason: Text = ""
    wait_s: _WaitSeconds = MAX_WAIT_S


class FuelBody(_Message):
    """One customer at the pump. ``most``: what may be held (pre-pay), or the end of post-pay."""

    kind: Literal["prepay", "postpay"]
    reference: Name
    most: _AnyAmount | None = None
    jack: _Handle | None = None


class PickBody(_Message):
    """Which jack is meant; none: the one that is at the lane."""

    jack: _Handle | None = None


@dataclass(frozen=True, slots=True)
class GivingBack:
    """A refund that a till asks for. The same ``reference`` is given back once."""

    amount: Amount
    reference: str
    reason: str
    wait_s: int

    @classmethod
    def read(cls, members: dict[str, object]) -> Self:
        """Read a till's JSON. Raises StatementError."""
        asked = RefundBody.read(members)
        amount = read_amount(asked.amount)
        reference = asked.reference or Refund.usual_reference(amount)
        return cls(amount, reference, asked.reason, asked.wait_s)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be paid. The same ``reference`` must always come with the same rest."""

    amount: Amount
    capture: CaptureMode
    reference: str
    description: str

    @classmethod
    def of(cls, request: PaymentRequest) -> Self:
        """The order that a payment request was made for."""
        return cls(request.amount, request.capture, request.reference, request.description)


@dataclass(frozen=True, slots=True)
class Charge:
    """An order and how to go about it.

    ``jack``: handle of the jack that the attendant picked. ``code``: a whole code that the till
    knows from elsewhere; it need not be heard. ``wait_s``: how long the answer may be held back
    until the outcome is known, or with ``first_answer`` until the server has answered at all, for
    then there is a match code to show. 0: until the server has the request.
    """

    order: Order
    jack: str | None
    code: bytes | None
    wait_s: int
    first_answer: bool = False

    @classmethod
    def read(cls, members: dict[str, object]) -> Self:
        """Read a till's JSON. Raises StatementError."""
        asked = ChargeBody.read(members)
        if asked.capture not in set(CaptureMode):
            raise StatementError(ErrorCode.CLAIM_INVALID, "capture is automatic or manual")
        if asked.jack is not None and asked.code is not None:
            raise StatementError(ErrorCode.CLAIM_INVALID, "give a jack or a code, not both")
        order = Order(
            read_amount(asked.amount),
            CaptureMode(asked.capture),
            asked.reference,
            asked.description,
        )
        code = bytes.fromhex(asked.code) if asked.code is not None else None
        return cls(order, asked.jack, code, asked.wait_s, asked.wait_for == "answer")


@dataclass(frozen=True, slots=True)
class Lane:
    """Where and by whom payments are asked for: the ids of terminal and server, and the lane."""

    terminal: str
    server: str
    label: str


def read_amount(members: dict[str, object]) -> Amount:
    """An amount in minor units or as typed. Raises StatementError."""
    if "amount" in members:
        typed = TypedAmount.read(members)
        return parse_amount(typed.amount, typed.currency)
    try:
        return Amount.model_validate(members)
    except ValidationError:
        raise StatementError(
            ErrorCode.CLAIM_INVALID,
            'an amount is {"value": 450, "currency": "EUR"} or '
            '{"amount": "4.50", "currency": "EUR"}',
        ) from None


def read_capture(members: dict[str, object]) -> tuple[Amount, int]:
    """Amount to take, and how long the answer may be held back. Raises StatementError."""
    asked = CaptureBody.read(members)
    return read_amount(asked.amount), asked.wait_s


def read_cancel(members: dict[str, object]) -> tuple[str, int]:
    """Reason, and how long the answer may be held back. Raises StatementError."""
    asked = CancelBody.read(members)
    return asked.reason, asked.wait_s


def report_sighting(rssi_dbm: int, heard_s_ago: float, others: int) -> SightingReport:
    """How the jack was heard, and how many more; any figures are brought into their range."""
    return SightingReport(
        rssi_dbm=max(_MIN_RSSI_DBM, rssi_dbm),
        heard_ms_ago=min(round(max(0.0, heard_s_ago) * 1000), _MAX_HEARD_MS_AGO),
        other_jacks=min(others, _MAX_OTHER_JACKS),
    )


@dataclass(frozen=True, slots=True)
class Asking:
    """All that a payment request says besides the time: sign it anew and it asks the same."""

    payment: str
    order: Order
    lane: Lane
    code: bytes
    lane_nonce: bytes
    sighting: SightingReport

    def request(self, now_s: int) -> PaymentRequest:
        """The request as of ``now_s`` (Unix seconds)."""
        return PaymentRequest(
            iss=self.lane.terminal,
            aud=self.lane.server,
            jti=self.payment,
            iat=now_s,
            exp=now_s + REQUEST_LIFETIME_S,
            sub=self.payment,
            code=self.code.hex(),
            amount=self.order.amount,
            capture=self.order.capture,
            lane=self.lane.label,
            lane_digest=lane_digest(self.lane_nonce),
            reference=self.order.reference,
            description=self.order.description,
            sighting=self.sighting,
        )


def again(request: PaymentRequest, now_s: int) -> PaymentRequest:
    """The same request as of ``now_s``: for a terminal whose clock was wrong."""
    return request.model_copy(update={"iat": now_s, "exp": now_s + REQUEST_LIFETIME_S})


def capture_of(
    request: PaymentRequest, digest: str, amount: Amount, statement: str, now_s: int
) -> Capture:
    """Take ``amount`` of the held payment. ``digest``: of the request; ``statement``: its id."""
    return Capture(**_order_claims(request, digest, statement, now_s), amount=amount)


def cancel_of(
    request: PaymentRequest, digest: str, reason: str, statement: str, now_s: int
) -> Cancel:
    """End the pending payment or release the hold."""
    claims = _order_claims(request, digest, statement, now_s)
    return Cancel.from_claims(claims | {"reason": reason})


def refund_of(
    request: PaymentRequest, digest: str, asked: GivingBack, statement: str, now_s: int
) -> Refund:
    """Give back a part of what was captured, or all of it."""
    claims = _order_claims(request, digest, statement, now_s)
    told = {"amount": asked.amount.model_dump(), "reference": asked.reference}
    return Refund.from_claims(claims | told | {"reason": asked.reason})


def _order_claims(
    request: PaymentRequest, digest: str, statement: str, now_s: int
) -> dict[str, Any]:
    return {
        "iss": request.iss,
        "aud": request.aud,
        "jti": statement,
        "iat": now_s,
        "exp": now_s + REQUEST_LIFETIME_S,
        "sub": request.sub,
        "prev": digest,
    }

"""A server that does as the test says: real HTTPS and real signatures, faults at will."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import uuid6
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from server.client import ServerPin
from twochannel import tls
from twochannel.intake import answer_coded_error
from twochannel.keystore.file import FileSigner
from twochannel.protocol.envelope import check_time, digest, sign, unverified_claims, verify
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.keys import VerifyingKey
from twochannel.protocol.payment import SETTLED, CaptureMode, RefundStatus, Status
from twochannel.protocol.statements import (
    Cancel,
    Capture,
    Enrolment,
    Identity,
    PaymentRequest,
    Receipt,
    Refund,
    Role,
)
from twochannel.protocol.wire import base64url
from twochannel.serving import Address, serve

LANE = "Lane 1"
MERCHANT = {"id": "blue-bottle", "name": "Blue Bottle"}


Order = TypeVar("Order", Capture, Cancel, Refund)


def new_id() -> str:
    return str(uuid6.uuid7())


def new_signer() -> FileSigner:
    return FileSigner(ec.generate_private_key(ec.SECP256R1()))


@dataclass
class Held:
    """A payment as this server holds it."""

    request: PaymentRequest
    compact: str
    status: Status = Status.PENDING
    #: A bank that grants less than was asked for.
    granted_minor: int | None = None
    authorized_minor: int = 0
    captured_minor: int = 0
    operation: str | None = None
    refunded_minor: int = 0
    refunds: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class ScriptedServer:
    """``faults``: what happens to the next requests that carry a statement, one each:

    "lose": take it, but break the connection; "drop": break it at once; a code or an error: refuse.
    ``greetings``: with what the next readers of the well-known document are refused; ``looks``:
    with what the next are who look at a payment or refund.
    ``outcome``: what becomes of a payment (None: it stays pending until ``decide``).
    ``receipt_changes``: claims that are wrong in every receipt. ``ahead_s``: of its clock.
    ``slow_card``: captures are under way until ``decide``, refunds until they are looked at.
    ``refund_status``: what becomes of refunds.
    """

    signer: FileSigner = field(default_factory=new_signer)
    outcome: Status | None = Status.CAPTURED
    faults: deque[str | ErrorCode | CodedError] = field(default_factory=deque)
    looks: deque[CodedError] = field(default_factory=deque)
    greetings: deque[ErrorCode] = field(default_factory=deque)
    receipt_changes: dict[str, Any] = field(default_factory=dict)
    ahead_s: int = 0
    slow_card: bool = False
    refund_status: RefundStatus = RefundStatus.SUCCEEDED
    received: list[tuple[str, str]] = field(default_factory=list)
    payments: dict[str, Held] = field(default_factory=dict)
    terminal: VerifyingKey | None = None
    looked_at: set[str] = field(default_factory=set)
    port: int = 0

    def __post_init__(self) -> None:
        self._tls_key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = tls.make_certificate(self._tls_key, "server", secrets.randbits(64) | 1)
        self._changed = asyncio.Condition()
        self.forger: FileSigner | None = None
        self.arrived = asyncio.Condition()

    @property
    def id(self) -> str:
        return self.signer.key.kid

    @property
    def identity(self) -> str:
        statement = Identity(
            iss=self.id,
            jti=new_id(),
            role=Role.SERVER,
            key=self.signer.key.jwk,
            beacon_key=self.signer.key.jwk,
            tls_sha256=tls.fingerprint(self.certificate),
            rotation_exponent=8,
        )
        return sign(statement, self.signer)

    def pin(self) -> ServerPin:
        url = f"https://127.0.0.1:{self.port}"
        return ServerPin(url, self.id, self.certificate, self.identity, 8)

    def now_s(self) -> int:
        return int(time.time()) + self.ahead_s

    def requests(self) -> list[str]:
        """The payment requests as they came, byte by byte."""
        return [compact for path, compact in self.received if path == "/v1/payments"]

    async def wait_for(self, received: int) -> None:
        """Until so many statements have arrived."""
        async with asyncio.timeout(20), self.arrived:
            await self.arrived.wait_for(lambda: len(self.received) >= received)

    async def wait_for_looks(self, payments: int) -> list[str]:
        """Until so many payments have been looked at after they were asked for."""
        async with asyncio.timeout(20), self.arrived:
            await self.arrived.wait_for(lambda: len(self.looked_at) >= payments)
        return sorted(self.looked_at)

    async def decide(self, payment: str, status: Status) -> None:
        """The owner and the card processor have come to ``status``."""
        async with self._changed:
            settle(self.payments[payment], status)
            self._changed.notify_all()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ScriptedServer]:
        context = tls.server_context(self.certificate, self._tls_key)
        async with serve(self.application(), Address(port=self.port), context, grace_s=0) as served:
            self.port = served.port or 0
            yield self

    def application(self) -> Starlette:
        one = "/v1/payments/{payment}"
        return Starlette(
            routes=[
                Route("/.well-known/cigarjack", self._well_known),
                Route("/v1/enrolments", self._enrol, methods=["POST"]),
                Route("/v1/payments", self._request, methods=["POST"]),
                Route(one, self._payment, methods=["GET"]),
                Route(f"{one}/captures", self._capture, methods=["POST"]),
                Route(f"{one}/cancellation", self._cancel, methods=["POST"]),
                Route(f"{one}/refunds", self._refund, methods=["POST"]),
                Route(f"{one}/refunds/{{refund}}", self._show_refund, methods=["GET"]),
            ],
            exception_handlers={CodedError: self._refuse},
        )

    # --- routes

    async def _well_known(self, _request: Request) -> Response:
        if self.greetings:
            raise CodedError(self.greetings.popleft())
        return self._answer({"server": self.id, "identity": self.identity})

    async def _enrol(self, request: Request) -> Response:
        compact = await self._statement(request)
        key = VerifyingKey.from_members(unverified_claims(compact)["key"])
        enrolment = verify(compact, Enrolment, key, audience=self.id, now_s=self.now_s())
        self.terminal = key
        answer = {"id": key.kid, "role": enrolment.role.value, "server": self.id}
        return self._answer(answer | {"lane": LANE, "merchant": MERCHANT}, 201)

    async def _request(self, request: Request) -> Response:
        compact = await self._statement(request)
        asked = verify(compact, PaymentRequest, self._terminal(), audience=self.id)
        if asked.jti not in self.payments:
            self._check_time(asked)
            held = Held(asked, compact)
            if self.outcome is not None:
                settle(held, self.outcome)
            self.payments[asked.jti] = held
        elif self.payments[asked.jti].compact != compact:
            raise CodedError(ErrorCode.PAYMENT_CONFLICT)
        return await self._told(request, asked.jti, 201)

    async def _payment(self, request: Request) -> Response:
        payment = request.path_params["payment"]
        if payment not in self.payments:
            raise CodedError(ErrorCode.PAYMENT_UNKNOWN)
        async with self.arrived:
            self.looked_at.add(payment)
            self.arrived.notify_all()
        if self.looks:
            raise self.looks.popleft()
        return await self._told(request, payment)

    async def _capture(self, request: Request) -> Response:
        held, order = await self._order(request, Capture)
        if held.status is Status.AUTHORIZED and self.slow_card:
            held.operation = "capture"
        elif held.status is Status.AUTHORIZED:
            held.status, held.captured_minor = Status.CAPTURED, order.amount.value
        elif held.status is not Status.CAPTURED:
            raise CodedError(ErrorCode.PAYMENT_STATE)
        return await self._told(request, held.request.jti)

    async def _cancel(self, request: Request) -> Response:
        held, _ = await self._order(request, Cancel)
        ends = {Status.AUTHORIZED: Status.VOIDED, Status.PENDING: Status.CANCELED}
        if held.status not in ends:
            raise CodedError(ErrorCode.PAYMENT_STATE)
        await self.decide(held.request.jti, ends[held.status])
        return await self._told(request, held.request.jti)

    async def _refund(self, request: Request) -> Response:
        held, order = await self._order(request, Refund)
        if held.status is not Status.CAPTURED:
            raise CodedError(ErrorCode.PAYMENT_STATE)
        compact = (await request.body()).decode()
        if order.jti not in held.refunds:
            held.refunds[order.jti] = {
                "id": order.jti,
                "payment": order.sub,
                "status": "pending",
                "amount": order.amount.model_dump(),
                "reference": order.reference,
                "reason": None,
                "receipt": None,
                "prev": digest(compact),
            }
        elif held.refunds[order.jti]["prev"] != digest(compact):
            raise CodedError(ErrorCode.STATEMENT_REPLAYED)
        if not self.slow_card:
            self._end_refund(held, held.refunds[order.jti])
        return self._answer(held.refunds[order.jti], 201)

    async def _show_refund(self, request: Request) -> Response:
        held = self.payments[request.path_params["payment"]]
        refund = held.refunds.get(request.path_params["refund"])
        if refund is None:
            raise CodedError(ErrorCode.REFUND_UNKNOWN)
        if self.looks:
            raise self.looks.popleft()
        self._end_refund(held, refund)
        return self._answer(refund)

    def _end_refund(self, held: Held, refund: dict[str, Any]) -> None:
        if refund["status"] != "pending":
            return
        refund["status"] = self.refund_status.value
        if self.refund_status is RefundStatus.REFUSED:
            refund["reason"] = "account_closed"
        else:
            held.refunded_minor += refund["amount"]["value"]
            refund["receipt"] = self.receipt(held, refund["prev"])

    # --- parts of them

    async def _order(self, request: Request, model: type[Order]) -> tuple[Held, Order]:
        compact = await self._statement(request)
        order = verify(compact, model, self._terminal(), audience=self.id)
        held = self.payments.get(order.sub)
        if held is None:
            raise CodedError(ErrorCode.PAYMENT_UNKNOWN)
        self._check_time(order)
        assert order.prev == digest(held.compact)
        return held, order

    async def _statement(self, request: Request) -> str:
        compact = (await request.body()).decode()
        fault = self.faults.popleft() if self.faults else None
        if fault == "drop":
            break_off(request)
            raise CodedError(ErrorCode.INTERNAL_ERROR, "nobody hears this")
        async with self.arrived:
            self.received.append((request.url.path, compact))
            self.arrived.notify_all()
        if fault == "lose":
            break_off(request)
        if isinstance(fault, ErrorCode):
            raise CodedError(fault)
        if isinstance(fault, CodedError):
            raise fault
        return compact

    def _terminal(self) -> VerifyingKey:
        assert self.terminal is not None
        return self.terminal

    def _check_time(self, statement: PaymentRequest | Capture | Cancel | Refund) -> None:
        check_time(statement, self.now_s())

    async def _told(self, request: Request, payment: str, status_code: int = 200) -> Response:
        """The payment, held back until it is settled if the request prefers to wait."""
        held = self.payments[payment]
        wait_s = float(request.headers.get("prefer", "wait=0").removeprefix("wait="))
        try:
            async with asyncio.timeout(wait_s), self._changed:
                await self._changed.wait_for(lambda: is_over(held))
        except TimeoutError:
            pass
        return self._answer(self.document(held), status_code)

    async def _refuse(self, request: Request, error: Exception) -> Response:
        answer = await answer_coded_error(request, error)
        answer.headers["cigarjack-time"] = self._time_ms()
        return answer

    def _answer(self, members: dict[str, Any], status_code: int = 200) -> Response:
        return JSONResponse(members, status_code, {"cigarjack-time": self._time_ms()})

    def _time_ms(self) -> str:
        return str(int(time.time() * 1000) + self.ahead_s * 1000)

    def document(self, held: Held) -> dict[str, Any]:
        request = held.request
        return {
            "id": request.jti,
            "status": held.status.value,
            "amount": request.amount.model_dump(),
            "capture": request.capture.value,
            "authorized_minor": held.authorized_minor,
            "captured_minor": held.captured_minor,
            "refunded_minor": held.refunded_minor,
            "merchant": MERCHANT,
            "lane": request.lane,
            "reference": request.reference,
            "description": request.description,
            "match_code": "42",
            "operation": held.operation,
            "reason": None,
            "created_ms": 0,
            "settled_ms": None,
            "expires_s": request.exp,
            "receipt": self.receipt(held) if held.status in SETTLED else None,
        }

    def receipt(self, held: Held, prev: str | None = None) -> str:
        claims: dict[str, Any] = {
            "iss": self.id,
            "aud": self._terminal().kid,
            "jti": new_id(),
            "sub": held.request.jti,
            "iat": self.now_s(),
            "prev": prev or base64url(secrets.token_bytes(32)),
            "status": held.status.value,
            "currency": held.request.amount.currency,
            "authorized_minor": held.authorized_minor,
            "captured_minor": held.captured_minor,
            "refunded_minor": held.refunded_minor,
            "processor_reference": "sim-1",
        }
        receipt = Receipt.from_claims(claims | self.receipt_changes)
        return sign(receipt, self.forger or self.signer)


def settle(held: Held, status: Status) -> None:
    held.status, held.operation = status, None
    value = held.granted_minor or held.request.amount.value
    if status in (Status.AUTHORIZED, Status.CAPTURED):
        held.authorized_minor = value
    if status is Status.CAPTURED and held.request.capture is CaptureMode.AUTOMATIC:
        held.captured_minor = value


def is_over(held: Held) -> bool:
    return held.status in SETTLED and held.operation is None


def break_off(request: Request) -> None:
    """Reset the TCP connection under the request, as a network that fails does."""
    cycle: Any = request.receive.__self__  # type: ignore[attr-defined]
    cycle.transport.abort()

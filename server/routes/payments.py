"""Payments: a terminal asks for one, its parties read it."""

from __future__ import annotations

import re

from fastapi import APIRouter
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import JSONResponse

from server.answers import PaymentAnswer, PaymentList
from server.kinds import FailureKind
from server.openapi import PAYMENT_ID, PREFER, STATEMENT_CODES, Door, door, statement_body
from server.payment_list import PARAMETERS, list_payments, read_page
from server.payments import PaymentRow, asked_phones, get_payment, view
from server.preference import applied, wait_preference_s
from server.requests import Fresh, Requested, SignedRequest, accept_request
from server.services import Device, Services, services_of
from twochannel import intake
from twochannel.protocol.envelope import read_header, unverified_claims
from twochannel.protocol.errors import CodedError, ErrorCode, PaymentError
from twochannel.protocol.statements import PaymentRequest, Role
from twochannel.protocol.wire import base64url

router = APIRouter(route_class=Door)
_BEACON_CODE = re.compile(r"[0-9a-f]{16}", re.ASCII)


async def read_request(services: Services, compact: str) -> SignedRequest:
    """Verify a payment request and look its code up. Raises CodedError.

    A code of another shape than codes have is answered like any that nobody uses.
    """
    try:
        request, key = await services.keyring.read(compact, PaymentRequest, Role.TERMINAL)
    except CodedError as error:
        if error.code is ErrorCode.CLAIM_INVALID and _code_malformed(compact):
            raise PaymentError(ErrorCode.CODE_UNKNOWN) from None
        raise
    jack_id = await services.resolver.resolve(request.code)
    return SignedRequest(request, compact, key.kid, jack_id)


def _code_malformed(compact: str) -> bool:
    code = unverified_claims(compact).get("code")
    return isinstance(code, str) and not _BEACON_CODE.fullmatch(code)


@router.post(
    "/v1/payments",
    **door(
        "requestPayment",
        "Request a payment of whoever uses a code",
        body=statement_body(PaymentRequest),
        parameters=(PREFER,),
        answers={200: PaymentAnswer, 201: PaymentAnswer},
        codes=(
            *STATEMENT_CODES,
            ErrorCode.CURRENCY_UNKNOWN,
            ErrorCode.PAYMENT_CONFLICT,
            ErrorCode.CODE_UNKNOWN,
            ErrorCode.TERMINAL_BUSY,
            ErrorCode.JACK_BUSY,
            ErrorCode.JACK_PROMPTED,
            ErrorCode.TERMINAL_THROTTLED,
            ErrorCode.TOO_MANY_CODES,
        ),
    ),
)
async def request_payment(request: Request) -> JSONResponse:
    services = services_of(request)
    compact = await intake.statement_body(request)
    try:
        return await _request(services, request, compact)
    except PaymentError as error:
        if error.code is ErrorCode.CODE_UNKNOWN:
            # It was told after the signature held: the terminal is who it says it is.
            await services.note_failure(FailureKind.CODE, read_header(compact).kid)
        raise


async def _request(services: Services, request: Request, compact: str) -> JSONResponse:
    signed = await read_request(services, compact)
    payment_id = signed.request.jti
    services.trace.event("request_received", payment_id)
    fresh = Fresh(
        nonce=base64url(services.token(16)),
        match_code=f"{int.from_bytes(services.token(4)) % 100:02d}",
        now_ms=services.now_ms(),
    )
    requested = await services.store.write(
        lambda connection: accept_request(
            connection, signed, fresh, services.issuer, services.allowances
        )
    )
    if requested.created:
        services.trace.event("challenge_issued", payment_id)
    for change in requested.changes:
        services.announce(change)
    return await _answer_request(services, request, requested)


async def _answer_request(
    services: Services, request: Request, requested: Requested
) -> JSONResponse:
    wait_s = wait_preference_s(request.headers.get("prefer", ""))
    payment = requested.payment
    if wait_s:
        payment = view(await services.wait_for_outcome(str(payment["id"]), wait_s))
    status_code = 201 if requested.created else 200
    return JSONResponse(payment, status_code=status_code, headers=applied(wait_s))


@router.get(
    "/v1/payments",
    **door(
        "listPayments",
        "The device's payments, newest first; by reference, or those that are not over",
        parameters=PARAMETERS,
        answers={200: PaymentList},
        proven=True,
    ),
)
async def list_own_payments(request: Request) -> JSONResponse:
    services = services_of(request)
    device = await services.prove(request, Role.TERMINAL, Role.PHONE)
    page = read_page(request.query_params)

    def items(connection: Connection) -> dict[str, object]:
        device.check(connection)
        return list_payments(connection, device.role, device.id, page)

    return JSONResponse(await services.store.read(items))


@router.get(
    "/v1/payments/{payment_id}",
    **door(
        "getPayment",
        "A payment, for its terminal or phone",
        parameters=(PAYMENT_ID, PREFER),
        answers={200: PaymentAnswer},
        codes=(ErrorCode.PAYMENT_UNKNOWN,),
        proven=True,
    ),
)
async def get_own_payment(request: Request) -> JSONResponse:
    services = services_of(request)
    device = await services.prove(request, Role.TERMINAL, Role.PHONE)
    payment_id = request.path_params["payment_id"]
    wait_s = wait_preference_s(request.headers.get("prefer", ""))
    # Looked up anew each time: who is revoked while it waits is told no more.
    row = await services.wait_for_outcome(
        payment_id, wait_s or 0, lambda connection: own_payment(connection, device, payment_id)
    )
    return JSONResponse(view(row), headers=applied(wait_s))


def own_payment(connection: Connection, device: Device, payment_id: str) -> PaymentRow:
    """The payment, if it is this device's. Raises CodedError."""
    device.check(connection)
    row = get_payment(connection, payment_id)
    if device.id not in (row.terminal_id, *asked_phones(row)):
        raise PaymentError(ErrorCode.PAYMENT_UNKNOWN)
    return row

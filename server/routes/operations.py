"""What becomes of a payment: its phone confirms, its terminal captures or cancels."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from server.answers import PaymentAnswer
from server.confirmations import SignedConfirmation, accept_confirmation
from server.openapi import PAYMENT_ID, PREFER, STATEMENT_CODES, Door, door, statement_body
from server.operations import SignedOrder, accept_order
from server.payments import Change, view
from server.preference import applied, wait_preference_s
from server.services import Services, services_of
from twochannel import intake
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.statements import (
    AuthCode,
    Cancel,
    Capture,
    Confirmation,
    Decision,
    Role,
)

router = APIRouter(route_class=Door)
_ORDER_CODES = (
    *STATEMENT_CODES,
    ErrorCode.PAYMENT_UNKNOWN,
    ErrorCode.PAYMENT_STATE,
    ErrorCode.CHAIN_BROKEN,
)


async def read_confirmation(services: Services, compact: str) -> SignedConfirmation:
    """Verify a confirmation and the auth code in it. Raises CodedError."""
    confirmation, key = await services.keyring.read(compact, Confirmation, Role.PHONE)
    if confirmation.auth_code is None:
        return SignedConfirmation(confirmation, compact, key.kid, None, None)
    auth_code, jack = await services.keyring.read(confirmation.auth_code, AuthCode, Role.JACK)
    return SignedConfirmation(confirmation, compact, key.kid, auth_code, jack.kid)


@router.post(
    "/v1/payments/{payment_id}/confirmation",
    **door(
        "confirmPayment",
        "The owner's decision, with the jack's auth code",
        body=statement_body(Confirmation),
        parameters=(PAYMENT_ID, PREFER),
        answers={200: PaymentAnswer},
        codes=(
            *_ORDER_CODES,
            ErrorCode.EPOCH_OUTDATED,
            ErrorCode.COUNTER_REUSED,
            ErrorCode.PRESENCE_MISSING,
            ErrorCode.PAYMENT_METHOD_UNKNOWN,
        ),
    ),
)
async def confirm_payment(request: Request) -> JSONResponse:
    services = services_of(request)
    payment_id = request.path_params["payment_id"]
    try:
        return await _confirm(services, request, payment_id)
    except CodedError as error:
        services.trace.event("confirmation_refused", payment_id, code=error.code.value)
        raise


async def _confirm(services: Services, request: Request, payment_id: str) -> JSONResponse:
    signed = await read_confirmation(services, await intake.statement_body(request))
    confirmation = signed.confirmation
    services.trace.event(
        "confirmation_received",
        payment_id,
        decision=confirmation.decision.value,
        decided_by=confirmation.decided_by.value,
    )
    confirmed = await services.store.write(
        lambda connection: accept_confirmation(
            connection, payment_id, signed, services.now_ms(), services.issuer
        )
    )
    if confirmed.change is not None and confirmation.decision is Decision.APPROVE:
        services.trace.event("payment_confirmed", payment_id)
    return await _answer(services, request, confirmed.payment, confirmed.change)


@router.post(
    "/v1/payments/{payment_id}/captures",
    **door(
        "capturePayment",
        "Take at most what is held, release the rest",
        body=statement_body(Capture),
        parameters=(PAYMENT_ID, PREFER),
        answers={200: PaymentAnswer},
        codes=(*_ORDER_CODES, ErrorCode.CURRENCY_UNKNOWN, ErrorCode.AMOUNT_EXCEEDED),
    ),
)
async def capture_payment(request: Request) -> JSONResponse:
    return await _order(request, Capture)


@router.post(
    "/v1/payments/{payment_id}/cancellation",
    **door(
        "cancelPayment",
        "End a pending payment or release a hold",
        body=statement_body(Cancel),
        parameters=(PAYMENT_ID, PREFER),
        answers={200: PaymentAnswer},
        codes=_ORDER_CODES,
    ),
)
async def cancel_payment(request: Request) -> JSONResponse:
    return await _order(request, Cancel)


async def _order(request: Request, model: type[Capture | Cancel]) -> JSONResponse:
    services = services_of(request)
    compact = await intake.statement_body(request)
    order, key = await services.keyring.read(compact, model, Role.TERMINAL)
    signed = SignedOrder(order, compact, key.kid)
    ordered = await services.store.write(
        lambda connection: accept_order(
            connection,
            request.path_params["payment_id"],
            signed,
            services.now_ms(),
            services.issuer,
        )
    )
    return await _answer(services, request, ordered.payment, ordered.change)


async def _answer(
    services: Services, request: Request, payment: dict[str, object], change: Change | None
) -> JSONResponse:
    if change is not None:
        services.announce(change)
    wait_s = wait_preference_s(request.headers.get("prefer", ""))
    if wait_s:
        payment = view(await services.wait_for_outcome(str(payment["id"]), wait_s))
    return JSONResponse(payment, headers=applied(wait_s))

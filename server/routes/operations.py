"""What becomes of a payment: its phone confirms, its terminal captures or cancels."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from server.answers import PaymentAnswer
from server.confirmations import Confirmed, SignedConfirmation, accept_confirmation
from server.kinds import FailureKind
from server.openapi import PAYMENT_ID, PREFER, STATEMENT_CODES, Door, door, statement_body
from server.operations import SignedOrder, accept_order
from server.payments import Change, view
from server.preference import applied, wait_preference_s
from server.services import Services, services_of
from twochannel import intake
from twochannel.protocol.envelope import check_time
from twochannel.protocol.errors import CodedError, ErrorCode, StatementError
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


#: Refusals of a confirmation that a phone and a jack in order do not earn.
_WRONG = frozenset(
    {
        ErrorCode.AUDIENCE_WRONG,
        ErrorCode.CHAIN_BROKEN,
        ErrorCode.CLAIM_INVALID,
        ErrorCode.COUNTER_REUSED,
        ErrorCode.EPOCH_OUTDATED,
        ErrorCode.ISSUER_WRONG,
        ErrorCode.KEY_UNKNOWN,
        ErrorCode.MESSAGE_MALFORMED,
        ErrorCode.PAYMENT_METHOD_UNKNOWN,
        ErrorCode.PAYMENT_UNKNOWN,
        ErrorCode.SIGNATURE_INVALID,
        ErrorCode.STATEMENT_REPLAYED,
        ErrorCode.STATEMENT_TYPE_WRONG,
    }
)


async def read_auth_code(
    services: Services, confirmation: Confirmation, compact: str, kid: str
) -> SignedConfirmation:
    """Verify the auth code in a confirmation whose own signature holds. Raises CodedError."""
    if confirmation.auth_code is None:
        return SignedConfirmation(confirmation, compact, kid, None, None)
    auth_code, jack = await services.keyring.read(confirmation.auth_code, AuthCode, Role.JACK)
    return SignedConfirmation(confirmation, compact, kid, auth_code, jack.kid)


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
            ErrorCode.SETTLED_BY_OTHER_PHONE,
            ErrorCode.EPOCH_OUTDATED,
            ErrorCode.COUNTER_REUSED,
            ErrorCode.PRESENCE_MISSING,
            ErrorCode.PAYMENT_METHOD_NOT_COUPLED,
            ErrorCode.PAYMENT_METHOD_UNKNOWN,
            ErrorCode.TOO_MANY_CONFIRMATIONS,
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
    compact = await intake.statement_body(request)
    confirmation, key = await services.keyring.read(compact, Confirmation, Role.PHONE)
    try:
        signed = await read_auth_code(services, confirmation, compact, key.kid)
        confirmed = await _accept(services, payment_id, signed)
    except CodedError as error:
        wrong = error.code in _WRONG
        if wrong and _sent_by_its_phone(confirmation, payment_id, services.now_ms()):
            await services.note_failure(FailureKind.CONFIRMATION, key.kid)
        raise
    return await _answer(services, request, confirmed.payment, confirmed.change)


def _sent_by_its_phone(confirmation: Confirmation, payment_id: str, now_ms: int) -> bool:
    """Not an old one, or one of another payment, that somebody else sends again.

    One that took effect needs no look: its payment is no longer pending, and says so.
    """
    if confirmation.sub != payment_id:
        return False
    try:
        check_time(confirmation, now_ms // 1000)
    except StatementError:
        return False
    return True


async def _accept(services: Services, payment_id: str, signed: SignedConfirmation) -> Confirmed:
    confirmation = signed.confirmation
    services.trace.event(
        "confirmation_received",
        payment_id,
        decision=confirmation.decision.value,
        decided_by=confirmation.decided_by.value,
    )
    confirmed = await services.store.write(
        lambda connection: accept_confirmation(
            connection,
            payment_id,
            signed,
            services.now_ms(),
            services.issuer,
            services.allowances,
        )
    )
    if confirmed.change is not None and confirmation.decision is Decision.APPROVE:
        services.trace.event("payment_confirmed", payment_id)
    return confirmed


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

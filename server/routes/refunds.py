"""Refunds: the terminal asks for one, and reads what became of it."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import JSONResponse

from server.answers import RefundAnswer, RefundList
from server.openapi import (
    PAYMENT_ID,
    PREFER,
    REFUND_ID,
    STATEMENT_CODES,
    Door,
    door,
    statement_body,
)
from server.preference import applied, wait_preference_s
from server.refunds import (
    RefundRow,
    SignedRefund,
    accept_refund,
    get_refund,
    refunds_of,
    settled,
    view,
)
from server.routes.payments import own_payment
from server.services import Services, services_of
from twochannel import intake
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.statements import Refund, Role

router = APIRouter(route_class=Door)


@router.post(
    "/v1/payments/{payment_id}/refunds",
    **door(
        "refundPayment",
        "Give back what was captured, or a part of it",
        body=statement_body(Refund),
        parameters=(PAYMENT_ID, PREFER),
        answers={200: RefundAnswer, 201: RefundAnswer},
        codes=(
            *STATEMENT_CODES,
            ErrorCode.CURRENCY_UNKNOWN,
            ErrorCode.PAYMENT_UNKNOWN,
            ErrorCode.PAYMENT_STATE,
            ErrorCode.CHAIN_BROKEN,
            ErrorCode.AMOUNT_EXCEEDED,
            ErrorCode.PAYMENT_CONFLICT,
        ),
    ),
)
async def refund_payment(request: Request) -> JSONResponse:
    services, payment_id = services_of(request), request.path_params["payment_id"]
    compact = await intake.statement_body(request)
    refund, key = await services.keyring.read(compact, Refund, Role.TERMINAL)
    signed = SignedRefund(refund, compact, key.kid)
    accepted = await services.store.write(
        lambda connection: accept_refund(
            connection, payment_id, signed, services.now_ms(), services.issuer
        )
    )
    if accepted.change is not None:
        services.announce(accepted.change)
    status_code = 200 if accepted.change is None else 201
    return await _answer(services, request, accepted.refund, status_code)


@router.get(
    "/v1/payments/{payment_id}/refunds",
    **door(
        "listRefunds",
        "A payment's refunds, for its terminal or phone",
        parameters=(PAYMENT_ID,),
        answers={200: RefundList},
        codes=(ErrorCode.PAYMENT_UNKNOWN,),
        proven=True,
    ),
)
async def list_refunds(request: Request) -> JSONResponse:
    services, payment_id = services_of(request), request.path_params["payment_id"]
    device = await services.prove(request, Role.TERMINAL, Role.PHONE)

    def items(connection: Connection) -> list[dict[str, object]]:
        return refunds_of(connection, own_payment(connection, device, payment_id).id)

    return JSONResponse({"items": await services.store.read(items)})


@router.get(
    "/v1/payments/{payment_id}/refunds/{refund_id}",
    **door(
        "getRefund",
        "A refund, for the payment's terminal or phone",
        parameters=(PAYMENT_ID, REFUND_ID, PREFER),
        answers={200: RefundAnswer},
        codes=(ErrorCode.PAYMENT_UNKNOWN, ErrorCode.REFUND_UNKNOWN),
        proven=True,
    ),
)
async def get_own_refund(request: Request) -> JSONResponse:
    services, payment_id = services_of(request), request.path_params["payment_id"]
    device = await services.prove(request, Role.TERMINAL, Role.PHONE)

    def look(connection: Connection) -> RefundRow:
        payment = own_payment(connection, device, payment_id)
        return get_refund(connection, payment.id, request.path_params["refund_id"])

    wait_s = wait_preference_s(request.headers.get("prefer", ""))
    row = await services.wait_until(payment_id, wait_s or 0, look, settled)
    return JSONResponse(view(row), headers=applied(wait_s))


async def _answer(
    services: Services, request: Request, refund: dict[str, object], status_code: int
) -> JSONResponse:
    wait_s = wait_preference_s(request.headers.get("prefer", ""))
    if wait_s:
        payment_id, refund_id = str(refund["payment"]), str(refund["id"])
        row = await services.wait_until(
            payment_id, wait_s, lambda c: get_refund(c, payment_id, refund_id), settled
        )
        refund = view(row)
    return JSONResponse(refund, status_code=status_code, headers=applied(wait_s))

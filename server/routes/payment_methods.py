"""Payment methods of a phone, tokenised by the processor."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import JSONResponse

from server.answers import PaymentMethodAnswer, PaymentMethodList
from server.openapi import STATEMENT_CODES, Door, door, statement_body
from server.registry import add_payment_method, list_payment_methods
from server.services import services_of
from twochannel import intake
from twochannel.protocol.statements import Method, Role

router = APIRouter(route_class=Door)


@router.post(
    "/v1/payment-methods",
    **door(
        "addPaymentMethod",
        "Register a payment method",
        body=statement_body(Method),
        answers={200: PaymentMethodAnswer, 201: PaymentMethodAnswer},
        codes=STATEMENT_CODES,
    ),
)
async def add_method(request: Request) -> JSONResponse:
    services = services_of(request)
    compact = await intake.statement_body(request)
    method, _ = await services.keyring.read(compact, Method, Role.PHONE)
    added = await services.store.write(
        lambda connection: add_payment_method(connection, method, compact, services.now_ms())
    )
    return JSONResponse(added.answer, status_code=201 if added.created else 200)


@router.get(
    "/v1/payment-methods",
    **door(
        "listPaymentMethods",
        "The phone's payment methods",
        answers={200: PaymentMethodList},
        proven=True,
    ),
)
async def list_methods(request: Request) -> JSONResponse:
    services = services_of(request)
    device = await services.prove(request, Role.PHONE)

    def items(connection: Connection) -> list[dict[str, object]]:
        device.check(connection)
        return list_payment_methods(connection, device.id)

    return JSONResponse({"items": await services.store.read(items)})

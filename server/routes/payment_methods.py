"""Payment methods of a phone, tokenised by the processor."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, TypeVar

from fastapi import APIRouter
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import JSONResponse

from server.answers import PaymentMethodAnswer, PaymentMethodList
from server.instructions import Signed
from server.openapi import METHOD_ID, STATEMENT_CODES, Door, door, statement_body
from server.payment_methods import (
    add_payment_method,
    choose_default,
    known_method,
    list_payment_methods,
    remove_method,
)
from server.processors.port import Processor, ProcessorError, Refused
from server.services import services_of
from twochannel import intake
from twochannel.protocol.errors import CodedError, ErrorCode, StatementError
from twochannel.protocol.instructions import MethodDefault, MethodRemoval
from twochannel.protocol.statements import Method, Role

router = APIRouter(route_class=Door)

S = TypeVar("S", MethodDefault, MethodRemoval)

_log = logging.getLogger(__name__)

#: A phone is waiting; it may ask again.
_PATIENCE_S: Final = 8.0


async def kept(processor: Processor, method: Method) -> str:
    """What to charge the method by from now on, as the processor says.

    Raises CodedError: ``payment_method_refused``, ``processor_unreachable``.
    """
    try:
        async with asyncio.timeout(_PATIENCE_S):
            token = await processor.keep(method.jti, method.token)
    except (ProcessorError, TimeoutError) as error:
        raise CodedError(ErrorCode.PROCESSOR_UNREACHABLE, str(error)) from None
    if isinstance(token, Refused):
        raise CodedError(ErrorCode.PAYMENT_METHOD_REFUSED, f"the processor says: {token.reason}")
    return token


@router.post(
    "/v1/payment-methods",
    **door(
        "addPaymentMethod",
        "Register a payment method",
        body=statement_body(Method),
        answers={200: PaymentMethodAnswer, 201: PaymentMethodAnswer},
        codes=(
            *STATEMENT_CODES,
            ErrorCode.PAYMENT_METHOD_REFUSED,
            ErrorCode.PROCESSOR_UNREACHABLE,
        ),
    ),
)
async def add_method(request: Request) -> JSONResponse:
    services = services_of(request)
    compact = await intake.statement_body(request)
    method, _ = await services.keyring.read(compact, Method, Role.PHONE)
    added = await services.store.read(lambda c: known_method(c, method, compact, services.now_ms()))
    if added is None:
        token = await kept(services.processor, method)
        added = await services.store.write(
            lambda c: add_payment_method(c, method, compact, token, services.now_ms())
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


_CHANGE_CODES: Final = (
    *STATEMENT_CODES,
    ErrorCode.PAYMENT_METHOD_UNKNOWN,
    ErrorCode.CHAIN_BROKEN,
)


@router.post(
    "/v1/payment-methods/{method_id}/default",
    **door(
        "choosePaymentMethod",
        "Make a payment method the default",
        body=statement_body(MethodDefault),
        parameters=[METHOD_ID],
        answers={200: PaymentMethodAnswer},
        codes=_CHANGE_CODES,
    ),
)
async def choose(request: Request) -> JSONResponse:
    services = services_of(request)
    signed = await _read(request, MethodDefault)
    return JSONResponse(
        await services.store.write(lambda c: choose_default(c, signed, services.now_ms()))
    )


@router.post(
    "/v1/payment-methods/{method_id}/removal",
    **door(
        "removePaymentMethod",
        "Charge nothing more to a payment method",
        body=statement_body(MethodRemoval),
        parameters=[METHOD_ID],
        answers={200: PaymentMethodAnswer},
        codes=_CHANGE_CODES,
    ),
)
async def remove(request: Request) -> JSONResponse:
    services = services_of(request)
    signed = await _read(request, MethodRemoval)
    removed = await services.store.write(lambda c: remove_method(c, signed, services.now_ms()))
    if removed.forget is not None:
        await _forget(services.processor, removed.forget, signed.statement.sub)
    return JSONResponse(removed.answer)


async def _read(request: Request, model: type[S]) -> Signed[S]:
    """The instruction in the body, about the method in the address. Raises StatementError."""
    compact = await intake.statement_body(request)
    statement, _ = await services_of(request).keyring.read(compact, model, Role.PHONE)
    if statement.sub != request.path_params["method_id"]:
        raise StatementError(ErrorCode.CHAIN_BROKEN, "the statement names another payment method")
    return Signed(statement, compact)


async def _forget(processor: Processor, token: str, method: str) -> None:
    """Tidy up at the processor. Nothing is charged to the method whatever comes of it."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await processor.forget(token)
    except (ProcessorError, TimeoutError) as error:
        _log.warning("method_not_forgotten", extra={"method": method, "reason": str(error)})

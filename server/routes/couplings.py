"""Couplings of payment methods and jacks."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from pydantic import ValidationError
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import JSONResponse

from server.answers import CouplingRequest, PaymentMethodAnswer
from server.couplings import SignedCoupling, challenge_jack, couple, uncouple
from server.instructions import Signed
from server.openapi import BODY_CODES, STATEMENT_CODES, Door, door, statement_body
from server.payment_methods import show_method
from server.routes.times import StatementResponse
from server.services import Services, services_of
from twochannel import intake
from twochannel.protocol.chain import check_coupling
from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.instructions import (
    Coupling,
    CouplingAnswer,
    CouplingChallenge,
    Uncoupling,
)
from twochannel.protocol.statements import Role
from twochannel.protocol.wire import base64url, parse_object

router = APIRouter(route_class=Door)

_NONCE_BYTES: Final = 16
_BODY = {
    "required": True,
    "content": {"application/json": {"schema": CouplingRequest.model_json_schema()}},
}
_CODES: Final = (*STATEMENT_CODES, ErrorCode.PAYMENT_METHOD_UNKNOWN)


@router.post(
    "/v1/coupling-challenges",
    response_class=StatementResponse,
    **door(
        "challengeJack",
        "What a jack must answer to be coupled",
        body=_BODY,
        codes=(*BODY_CODES, ErrorCode.EPOCH_OUTDATED, ErrorCode.PAYMENT_METHOD_UNKNOWN),
        proven=True,
    ),
)
async def challenge(request: Request) -> StatementResponse:
    services = services_of(request)
    device = await services.prove(request, Role.PHONE)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise StatementError(ErrorCode.MEDIA_TYPE_UNSUPPORTED, "send application/json")
    asked = _read_request(await request.body())
    nonce = base64url(services.token(_NONCE_BYTES))

    def compact(connection: Connection) -> str:
        device.check(connection)
        return challenge_jack(
            connection,
            asked.method,
            asked.jack,
            device.id,
            nonce=nonce,
            now_ms=services.now_ms(),
            issuer=services.issuer,
        )

    return StatementResponse(await services.store.read(compact))


def _read_request(data: bytes) -> CouplingRequest:
    try:
        return CouplingRequest.model_validate(parse_object(data))
    except ValidationError:
        raise StatementError(
            ErrorCode.CLAIM_INVALID, "send exactly method and jack (their ids)"
        ) from None


@router.post(
    "/v1/couplings",
    **door(
        "coupleMethod",
        "Couple a payment method to a jack that is at hand",
        body=statement_body(Coupling),
        answers={200: PaymentMethodAnswer},
        codes=(*_CODES, ErrorCode.EPOCH_OUTDATED, ErrorCode.CHAIN_BROKEN),
    ),
)
async def add_coupling(request: Request) -> JSONResponse:
    services = services_of(request)
    compact = await intake.statement_body(request)
    statement, _ = await services.keyring.read(compact, Coupling, Role.PHONE)
    coupling = await _read_coupling(services, Signed(statement, compact))

    def take_effect(connection: Connection) -> dict[str, object]:
        couple(connection, coupling, services.now_ms())
        return show_method(connection, statement.sub)

    return JSONResponse(await services.store.write(take_effect))


async def _read_coupling(services: Services, signed: Signed[Coupling]) -> SignedCoupling:
    """Verify what is inside a coupling whose own signature holds. Raises CodedError."""
    compact, lineage = signed.statement.challenge, services.reign.lineage
    asked = lineage.verify(compact, CouplingChallenge)
    if asked.iss != lineage.server:
        raise StatementError(ErrorCode.ISSUER_WRONG, "the challenge comes from another server")
    answer, _ = await services.keyring.read(signed.statement.answer, CouplingAnswer, Role.JACK)
    check_coupling(asked, compact, answer)
    return SignedCoupling(signed, asked, answer)


@router.post(
    "/v1/uncouplings",
    **door(
        "uncoupleMethod",
        "End a coupling",
        body=statement_body(Uncoupling),
        answers={200: PaymentMethodAnswer},
        codes=(*_CODES, ErrorCode.PAYMENT_METHOD_NOT_COUPLED),
    ),
)
async def end_coupling(request: Request) -> JSONResponse:
    services = services_of(request)
    compact = await intake.statement_body(request)
    statement, _ = await services.keyring.read(compact, Uncoupling, Role.PHONE)
    signed = Signed(statement, compact)

    def take_effect(connection: Connection) -> dict[str, object]:
        uncouple(connection, signed, services.now_ms())
        return show_method(connection, statement.sub)

    return JSONResponse(await services.store.write(take_effect))

"""Pairings: the phone brings the jack's pairing statement, counter-signed."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from server.answers import PairedAnswer
from server.openapi import STATEMENT_CODES, Door, door, statement_body
from server.pairing import read_acceptance, store_pairing
from server.services import services_of
from twochannel import intake
from twochannel.protocol.envelope import read_header
from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.statements import PairingAcceptance, Role

router = APIRouter(route_class=Door)


@router.post(
    "/v1/pairings",
    **door(
        "acceptPairing",
        "Store which phone a jack belongs to",
        body=statement_body(PairingAcceptance),
        answers={200: PairedAnswer, 201: PairedAnswer},
        codes=(*STATEMENT_CODES, ErrorCode.KEY_INVALID, ErrorCode.EPOCH_OUTDATED),
    ),
)
async def accept_pairing(request: Request) -> JSONResponse:
    services = services_of(request)
    compact = await intake.statement_body(request)
    header = read_header(compact)
    if header.typ != PairingAcceptance.TYP:
        raise StatementError(ErrorCode.STATEMENT_TYPE_WRONG, f"expected {PairingAcceptance.TYP}")
    phone = await services.keyring.key(Role.PHONE, header.kid)
    accepted = read_acceptance(compact, phone, services.issuer.server_id)
    answer, created = await services.store.write(
        lambda connection: store_pairing(connection, accepted, services.now_ms())
    )
    await services.resolver.refresh()
    return JSONResponse(answer, status_code=201 if created else 200)

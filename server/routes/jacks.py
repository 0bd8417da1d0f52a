"""Jacks of a phone."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import JSONResponse

from server.answers import JackAnswer, JackList
from server.instructions import Signed
from server.members import remove_member
from server.openapi import STATEMENT_CODES, Door, door, statement_body
from server.releases import list_jacks, release_jack
from server.services import services_of
from twochannel import intake
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.instructions import MemberRemoval, Release
from twochannel.protocol.statements import Role

router = APIRouter(route_class=Door)


@router.get(
    "/v1/jacks",
    **door("listJacks", "The phone's jacks", answers={200: JackList}, proven=True),
)
async def list_own(request: Request) -> JSONResponse:
    services = services_of(request)
    device = await services.prove(request, Role.PHONE)

    def items(connection: Connection) -> list[dict[str, object]]:
        device.check(connection)
        return list_jacks(connection, device.id)

    return JSONResponse({"items": await services.store.read(items)})


@router.post(
    "/v1/releases",
    **door(
        "releaseJack",
        "Let a jack go until it is paired anew",
        body=statement_body(Release),
        answers={200: JackAnswer},
        codes=(*STATEMENT_CODES, ErrorCode.EPOCH_OUTDATED),
    ),
)
async def release(request: Request) -> JSONResponse:
    services = services_of(request)
    compact = await intake.statement_body(request)
    statement, _ = await services.keyring.read(compact, Release, Role.PHONE)
    signed = Signed(statement, compact)
    return JSONResponse(
        await services.store.write(lambda c: release_jack(c, signed, services.now_ms()))
    )


@router.post(
    "/v1/member-removals",
    **door(
        "removeMember",
        "End the membership of another phone of the jack",
        body=statement_body(MemberRemoval),
        answers={200: JackAnswer},
        codes=(*STATEMENT_CODES, ErrorCode.EPOCH_OUTDATED),
    ),
)
async def remove(request: Request) -> JSONResponse:
    services = services_of(request)
    compact = await intake.statement_body(request)
    statement, _ = await services.keyring.read(compact, MemberRemoval, Role.PHONE)
    signed = Signed(statement, compact)
    return JSONResponse(
        await services.store.write(lambda c: remove_member(c, signed, services.now_ms()))
    )

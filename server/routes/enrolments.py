"""Enrolment: a terminal or phone becomes known here, with the operator's one-time code."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network

from fastapi import APIRouter
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import JSONResponse

from server.answers import EnrolledAnswer
from server.kinds import FailureKind
from server.openapi import STATEMENT_CODES, Door, door, statement_body
from server.registry import Enrolled, enrol
from server.services import services_of
from twochannel import intake
from twochannel.protocol.envelope import unverified_claims, verify
from twochannel.protocol.errors import CodedError, ErrorCode, StatementError
from twochannel.protocol.keys import VerifyingKey
from twochannel.protocol.statements import Enrolment, Role

router = APIRouter(route_class=Door)


def read_enrolment(compact: str, server_id: str) -> Enrolment:
    """Verify that the device holds the key that it brings. Raises StatementError."""
    key = VerifyingKey.from_members(unverified_claims(compact).get("key"))
    enrolment = verify(compact, Enrolment, key, audience=server_id)
    if enrolment.iss != key.kid:
        raise StatementError(ErrorCode.ISSUER_WRONG, "iss must be the thumbprint of the key")
    if enrolment.role not in (Role.PHONE, Role.TERMINAL):
        raise StatementError(ErrorCode.CLAIM_INVALID, "only terminals and phones enrol")
    return enrolment


def address_of(request: Request) -> str:
    """Where a request comes from: the address, of IPv6 the network that one household has.

    A server on ``::`` sees IPv4 as mapped addresses, of one and the same network; link-local
    addresses have the same network in every household.
    """
    host = request.client.host if request.client else "local"
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    if address.version == 4 or address.is_link_local:
        return str(address)
    return str(ip_network((address, 64), strict=False))


@router.post(
    "/v1/enrolments",
    **door(
        "enrolDevice",
        "Enrol a terminal or phone",
        body=statement_body(Enrolment),
        answers={200: EnrolledAnswer, 201: EnrolledAnswer},
        codes=(
            *STATEMENT_CODES,
            ErrorCode.KEY_INVALID,
            ErrorCode.ENROLMENT_CODE_REFUSED,
            ErrorCode.TOO_MANY_ENROLMENTS,
        ),
    ),
)
async def enrol_device(request: Request) -> JSONResponse:
    services = services_of(request)
    compact = await intake.statement_body(request)
    enrolment = read_enrolment(compact, services.issuer.server_id)
    address = address_of(request)

    def transaction(connection: Connection) -> Enrolled:
        now_ms = services.now_ms()
        services.allowances.check_failures(connection, FailureKind.ENROLMENT, address, now_ms)
        return enrol(connection, enrolment, compact, services.issuer.server_id, now_ms)

    try:
        enrolled = await services.store.write(transaction)
    except CodedError as error:
        if error.code is ErrorCode.ENROLMENT_CODE_REFUSED:
            await services.note_failure(FailureKind.ENROLMENT, address)
        raise
    return JSONResponse(enrolled.answer, status_code=201 if enrolled.created else 200)

"""Time statements: how a jack without a clock learns the time, by way of its phone."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from server.answers import TimeRequest
from server.openapi import BODY_CODES, Door, door
from server.services import services_of
from twochannel.protocol.envelope import sign
from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.statements import Role, Time
from twochannel.protocol.wire import parse_object

router = APIRouter(route_class=Door)


class StatementResponse(Response):
    """One signed statement."""

    media_type = "application/jwt"


_BODY = {
    "required": True,
    "content": {"application/json": {"schema": TimeRequest.model_json_schema()}},
}


def read_time_request(data: bytes) -> TimeRequest:
    """Read the JSON body, strictly. Raises StatementError."""
    try:
        return TimeRequest.model_validate(parse_object(data))
    except ValidationError:
        raise StatementError(
            ErrorCode.CLAIM_INVALID, "send exactly jack (its id) and nonce (22 characters)"
        ) from None


@router.post(
    "/v1/time",
    response_class=StatementResponse,
    **door("tellTime", "A time statement for a jack", body=_BODY, codes=BODY_CODES, proven=True),
)
async def tell_time(request: Request) -> StatementResponse:
    services = services_of(request)
    device = await services.prove(request, Role.PHONE)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise StatementError(ErrorCode.MEDIA_TYPE_UNSUPPORTED, "send application/json")
    asked = read_time_request(await request.body())
    await services.store.read(device.check)
    issuer = services.issuer
    statement = Time(
        iss=issuer.server_id,
        aud=asked.jack,
        jti=issuer.new_id(),
        nonce=asked.nonce,
        time_ms=services.now_ms(),
    )
    return StatementResponse(sign(statement, issuer.signer))

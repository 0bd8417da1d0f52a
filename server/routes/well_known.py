"""What anyone may read: the server's identity, whether it runs, whether it can be sent requests."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from server.answers import Health, WellKnown
from server.openapi import Door, door
from server.readiness import trouble_of
from server.services import services_of
from twochannel.protocol.beacon import SERVICE_UUID
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.keys import VerifyingKey

API_BASE: Final = "/v1"

router = APIRouter(route_class=Door)


@router.get(
    "/.well-known/cigarjack",
    **door("describeServer", "The server's identity and parameters", answers={200: WellKnown}),
)
async def describe_server(request: Request) -> JSONResponse:
    services = services_of(request)
    reign = services.reign
    return JSONResponse(
        {
            "server": services.issuer.server_id,
            "identity": reign.current.identity,
            "lineage": list(reign.lineage.steps),
            "jwks": {"keys": [_jwk(each.key) for each in reign.believed()]},
            "api_base": API_BASE,
            "beacon": {
                "rotation_exponent": services.rotation_exponent,
                "service_uuid": f"0x{SERVICE_UUID:04X}",
            },
            "time_ms": services.now_ms(),
        }
    )


def _jwk(key: VerifyingKey) -> dict[str, str]:
    return key.jwk.model_dump() | {"kid": key.kid, "alg": "ES256", "use": "sig"}


@router.get("/healthz", **door("checkHealth", "Whether the server runs", answers={200: Health}))
async def check_health(_request: Request) -> JSONResponse:
    return JSONResponse({"ok": True})


@router.get(
    "/readyz",
    **door(
        "checkReadiness",
        "Whether the server can be sent requests",
        answers={200: Health},
        codes=(ErrorCode.NOT_READY,),
    ),
)
async def check_readiness(request: Request) -> JSONResponse:
    trouble = await trouble_of(services_of(request))
    if trouble is not None:
        raise CodedError(ErrorCode.NOT_READY, trouble)
    return JSONResponse({"ok": True})

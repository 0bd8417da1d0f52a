"""What anyone may read: the server's identity, and whether it runs."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from server.answers import Health, WellKnown
from server.openapi import Door, door
from server.services import services_of
from twochannel.protocol.beacon import SERVICE_UUID

API_BASE: Final = "/v1"

router = APIRouter(route_class=Door)


@router.get(
    "/.well-known/cigarjack",
    **door("describeServer", "The server's identity and parameters", answers={200: WellKnown}),
)
async def describe_server(request: Request) -> JSONResponse:
    services = services_of(request)
    key = services.issuer.signer.key
    jwk = key.jwk.model_dump() | {"kid": key.kid, "alg": "ES256", "use": "sig"}
    return JSONResponse(
        {
            "server": services.issuer.server_id,
            "identity": services.identity,
            "jwks": {"keys": [jwk]},
            "api_base": API_BASE,
            "beacon": {
                "rotation_exponent": services.rotation_exponent,
                "service_uuid": f"0x{SERVICE_UUID:04X}",
            },
            "time_ms": services.now_ms(),
        }
    )


@router.get("/healthz", **door("checkHealth", "Whether the server runs", answers={200: Health}))
async def check_health(_request: Request) -> JSONResponse:
    return JSONResponse({"ok": True})

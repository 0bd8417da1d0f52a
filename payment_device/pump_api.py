"""The pump over HTTP, beside the rest of the local API. Without a pump nothing is there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from payment_device.forecourt import Forecourt
from payment_device.orders import FuelBody, PickBody
from twochannel.protocol.wire import parse_object

Members = dict[str, object]


def pump_routes(forecourt: Forecourt) -> list[Route]:
    async def show(_request: Request) -> Response:
        return JSONResponse(forecourt.view())

    async def begin(told: Members) -> dict[str, Any]:
        return await forecourt.begin(FuelBody.read(told))

    async def ask_again(told: Members) -> dict[str, Any]:
        return await forecourt.ask_again(PickBody.read(told).jack)

    async def stop(_told: Members) -> dict[str, Any]:
        return await forecourt.stop()

    async def settle(_told: Members) -> dict[str, Any]:
        return await forecourt.settle()

    return [
        Route("/v1/pump", show, methods=["GET"]),
        _doing("/v1/pump/fuellings", begin),
        _doing("/v1/pump/request", ask_again),
        _doing("/v1/pump/stop", stop),
        _doing("/v1/pump/settlement", settle),
    ]


def _doing(path: str, do: Callable[[Members], Awaitable[dict[str, Any]]]) -> Route:
    async def endpoint(request: Request) -> Response:
        return JSONResponse(await do(parse_object(await request.body() or b"{}")))

    return Route(path, endpoint, methods=["POST"])

"""The running jack's local API on its control socket, for the commands of its operator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from cigarjack.local_service import application
from twochannel.trial_notes import TrialNotes


def operator_app(
    status: Callable[[], dict[str, object]],
    open_pairing: Callable[[], Awaitable[dict[str, object]]],
    notes: TrialNotes,
) -> ASGIApp:
    """``GET /v1/status``, ``POST /v1/pairing-window`` and the trial's notes.

    Whoever reaches the socket may.
    """

    async def tell_status(_request: Request) -> Response:
        return JSONResponse(status())

    async def open_window(_request: Request) -> Response:
        return JSONResponse(await open_pairing())

    return application(
        [
            Route("/v1/status", tell_status, methods=["GET"]),
            Route("/v1/pairing-window", open_window, methods=["POST"]),
            *notes.routes(),
        ]
    )

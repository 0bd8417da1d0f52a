"""The agent's local API: for its command line on a Unix socket, for tills on loopback.

One implementation under both; docs/pos.md tells tills how to use it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from payment_device.answers import JackAmbiguousError, UnsettledError
from payment_device.lane_radio import LaneRadio
from payment_device.orders import Charge, GivingBack, read_cancel, read_capture
from payment_device.paper import receipt_text
from payment_device.terminal import Terminal
from payment_device.till_access import OPENAPI
from payment_device.till_events import TillEvents
from payment_device.till_openapi import document
from twochannel.changes import Changes
from twochannel.intake import StrictDoor, answer_coded_error, answer_failure, answer_http_error
from twochannel.pages.words import choose
from twochannel.protocol.errors import PROBLEMS, CodedError, ErrorCode, problem_document
from twochannel.protocol.limits import MAX_WAIT_S
from twochannel.protocol.wire import parse_object

#: How many payments one list shows at most.
MAX_LISTED: Final = 200
_LISTED: Final = 20


class LocalApi:
    """Routes of one terminal. ``status``: what ``GET /v1/status`` answers."""

    def __init__(
        self,
        terminal: Terminal,
        radio: LaneRadio,
        changes: Changes,
        status: Callable[[], dict[str, Any]],
    ) -> None:
        self._terminal = terminal
        self._radio = radio
        self._events = TillEvents(terminal, radio, changes)
        self._status = status

    def application(self, *more: Route) -> Starlette:
        """The routes, and ``more`` of them."""
        one = "/v1/payments/{payment}"
        return Starlette(
            routes=[
                Route("/v1/payments", self._charge, methods=["POST"]),
                Route("/v1/payments", self._payments, methods=["GET"]),
                Route(one, self._payment, methods=["GET"]),
                Route(f"{one}/receipt", self._receipt, methods=["GET"]),
                Route(f"{one}/captures", self._capture, methods=["POST"]),
                Route(f"{one}/cancellation", self._cancel, methods=["POST"]),
                Route(f"{one}/refunds", self._refund, methods=["POST"]),
                Route("/v1/jacks", self._jacks, methods=["GET"]),
                Route("/v1/status", self._tell_status, methods=["GET"]),
                Route("/v1/events", self._events.endpoint, methods=["GET"]),
                Route(OPENAPI, _openapi, methods=["GET"]),
                *more,
            ],
            middleware=[Middleware(StrictDoor)],
            exception_handlers={
                JackAmbiguousError: _answer_ambiguous,
                UnsettledError: _answer_unsettled,
                CodedError: answer_coded_error,
                HTTPException: answer_http_error,
                Exception: answer_failure,
            },
        )

    async def _charge(self, request: Request) -> Response:
        return JSONResponse(await self._terminal.charge(Charge.read(await _members(request))))

    async def _payments(self, request: Request) -> Response:
        limit = _number(request, "limit", _LISTED, MAX_LISTED)
        reference = request.query_params.get("reference")
        active = request.query_params.get("active") == "true"
        found = self._terminal.payments(limit, reference=reference, active=active)
        return JSONResponse({"items": found})

    async def _payment(self, request: Request) -> Response:
        wait_s = _number(request, "wait_s", 0, MAX_WAIT_S)
        return JSONResponse(await self._terminal.payment(request.path_params["payment"], wait_s))

    async def _receipt(self, request: Request) -> Response:
        """For people: ``?language=`` of the pages' languages, else as the till accepts."""
        told = await self._terminal.payment(request.path_params["payment"])
        language = request.query_params.get("language")
        chosen = choose(language, request.headers.get("accept-language", ""))
        merchant = str(self._status()["merchant"]["name"])
        return PlainTextResponse(receipt_text(told, merchant, chosen))

    async def _capture(self, request: Request) -> Response:
        amount, wait_s = read_capture(await _members(request))
        payment = request.path_params["payment"]
        return JSONResponse(await self._terminal.capture(payment, amount, wait_s))

    async def _cancel(self, request: Request) -> Response:
        reason, wait_s = read_cancel(await _members(request))
        payment = request.path_params["payment"]
        return JSONResponse(await self._terminal.cancel(payment, reason, wait_s))

    async def _refund(self, request: Request) -> Response:
        asked = GivingBack.read(await _members(request))
        return JSONResponse(await self._terminal.refund(request.path_params["payment"], asked))

    async def _jacks(self, _request: Request) -> Response:
        return JSONResponse(self._radio.jacks())

    async def _tell_status(self, _request: Request) -> Response:
        return JSONResponse(self._status())


async def _openapi(_request: Request) -> Response:
    return JSONResponse(document())


async def _members(request: Request) -> dict[str, object]:
    return parse_object(await request.body())


def _number(request: Request, name: str, default: int, largest: int) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise CodedError(ErrorCode.CLAIM_INVALID, f"{name} is a number")
    return min(int(text), largest)


def _problem(error: CodedError, extra: dict[str, object]) -> JSONResponse:
    return JSONResponse(
        problem_document(error.code, error.detail) | extra,
        status_code=PROBLEMS[error.code].status,
        media_type="application/problem+json",
    )


async def _answer_ambiguous(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, JackAmbiguousError):
        raise TypeError("registered for JackAmbiguousError only")
    candidates = [{"handle": jack.handle, "rssi_dbm": jack.rssi_dbm} for jack in error.candidates]
    return _problem(error, {"candidates": candidates})


async def _answer_unsettled(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, UnsettledError):
        raise TypeError("registered for UnsettledError only")
    return _problem(error, {"payment": error.payment})

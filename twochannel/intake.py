"""What every HTTP service of ours does at its door: bounded bodies, problem documents.

``StrictDoor`` is ASGI middleware that reads a request body whole, within a size and a time, and
turns the errors of the protocol into RFC 9457 answers. It holds for jack and server alike.
"""

from __future__ import annotations

import asyncio
import logging

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twochannel.protocol.errors import (
    PROBLEMS,
    CodedError,
    ErrorCode,
    LimitError,
    problem_document,
)
from twochannel.protocol.limits import BODY_TIMEOUT_S, MAX_BODY_BYTES

_log = logging.getLogger(__name__)
#: How many times the limit is read before a peer is cut off in the middle of its sentence.
_PATIENCE = 16
_STATUS_CODES = {
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    413: ErrorCode.MESSAGE_TOO_LARGE,
    415: ErrorCode.MEDIA_TYPE_UNSUPPORTED,
}


def problem_response(
    code: ErrorCode, detail: str = "", headers: dict[str, str] | None = None
) -> JSONResponse:
    """``code`` as application/problem+json with its status."""
    return JSONResponse(
        problem_document(code, detail),
        status_code=PROBLEMS[code].status,
        media_type="application/problem+json",
        headers=headers,
    )


async def answer_coded_error(_request: Request, error: Exception) -> JSONResponse:
    """Exception handler for CodedError."""
    if not isinstance(error, CodedError):
        raise TypeError("registered for CodedError only")
    headers = None
    if isinstance(error, LimitError):
        headers = {"retry-after": str(error.retry_after_s)}
    return problem_response(error.code, error.detail, headers)


async def answer_http_error(request: Request, error: Exception) -> JSONResponse:
    """Exception handler for the framework's own HTTP errors (404, 405 and the like)."""
    if not isinstance(error, HTTPException):
        raise TypeError("registered for HTTPException only")
    code = _STATUS_CODES.get(error.status_code, ErrorCode.MESSAGE_MALFORMED)
    headers = dict(error.headers or {})
    if code is ErrorCode.METHOD_NOT_ALLOWED and (methods := _methods_here(request)):
        headers["Allow"] = ", ".join(methods)
    return problem_response(code, headers=headers)


def _methods_here(request: Request) -> list[str]:
    """The methods of all routes with the request's path: the framework names those of the first."""
    return sorted(
        method
        for route in request.scope["router"].routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is Match.PARTIAL
        for method in route.methods or ()
    )


async def answer_failure(request: Request, error: Exception) -> JSONResponse:
    """Exception handler for everything else: logged whole, answered without details."""
    _log.error("request_failed", extra={"path": request.url.path}, exc_info=error)
    return problem_response(ErrorCode.INTERNAL_ERROR)


async def statement_body(request: Request) -> str:
    """The statement in an ``application/jwt`` body. Raises StatementError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/jwt":
        raise CodedError(ErrorCode.MEDIA_TYPE_UNSUPPORTED, "send the statement as application/jwt")
    try:
        return (await request.body()).decode("ascii")
    except UnicodeDecodeError:
        raise CodedError(ErrorCode.MESSAGE_MALFORMED, "a statement is ASCII text") from None


class StrictDoor:
    """Reads the body before the application runs; refuses it over size or over time."""

    def __init__(
        self,
        app: ASGIApp,
        max_bytes: int = MAX_BODY_BYTES,
        timeout_s: float = BODY_TIMEOUT_S,
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                body = await read_body(receive, self._max_bytes)
        except TimeoutError:
            late = "the body did not arrive in time"
            await _refusal(ErrorCode.MESSAGE_MALFORMED, late)(scope, receive, send)
            return
        if body is None:
            return
        if len(body) > self._max_bytes:
            await _refusal(ErrorCode.MESSAGE_TOO_LARGE)(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)


async def read_body(receive: Receive, max_bytes: int, patience: int = _PATIENCE) -> bytes | None:
    """The body, cut off just above the limit, or None if the peer has gone.

    What is too much is read a while longer and forgotten, so that an honest peer is still
    listening when it gets its refusal.
    """
    body, read = bytearray(), 0
    while read <= patience * max_bytes:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        read += len(part)
        body += part[: max_bytes + 1 - len(body)]
        if not message.get("more_body", False):
            break
    return bytes(body)


def _refusal(code: ErrorCode, detail: str = "") -> JSONResponse:
    """A refusal that ends the connection, for the rest of the body is not wanted."""
    return problem_response(code, detail, headers={"connection": "close"})


def _replay(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that gives the body once, then whatever comes after it (disconnects)."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed

"""The server's HTTP application: its doors, and what stands before all of them."""

from __future__ import annotations

import logging
from importlib.metadata import version
from typing import Any, cast

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from server.openapi import complete
from server.routes import (
    couplings,
    enrolments,
    events,
    jacks,
    operations,
    pairings,
    payment_methods,
    payments,
    processor_events,
    refunds,
    times,
    well_known,
)
from server.server_time import ServerTime
from server.services import Services
from server.store import StoreAwayError, StoreError
from server.traffic import Observer, Traffic
from twochannel.intake import (
    StrictDoor,
    answer_coded_error,
    answer_failure,
    answer_http_error,
    problem_response,
)
from twochannel.protocol.errors import PROBLEMS, CodedError, ErrorCode

_log = logging.getLogger(__name__)

_ROUTERS = (
    well_known.router,
    enrolments.router,
    pairings.router,
    times.router,
    jacks.router,
    couplings.router,
    payment_methods.router,
    payments.router,
    operations.router,
    refunds.router,
    events.router,
    processor_events.router,
)
_DESCRIPTION = (
    "Two-channel payment with a cigar jack. Requests that move money or trust are signed "
    "statements (compact JWS, ES256); errors are RFC 9457 problem documents with a stable `code`."
)
_UNAUTHORIZED = 401


class Application(FastAPI):
    """FastAPI with the complete OpenAPI document at ``/openapi.json``."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = complete(super().openapi())
        return self.openapi_schema


def build_application(services: Services) -> Application:
    """The doors and their error handlers, without what ``build`` puts before them."""
    app = Application(
        title="CigarJack server",
        version=version("cigarjack"),
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={
            CodedError: _answer_coded_error,
            HTTPException: answer_http_error,
            StoreError: _answer_store_error,
            Exception: answer_failure,
        },
    )
    app.state.services = services
    for router in _ROUTERS:
        # As they are: FastAPI's inclusion looks each request up in every router anew.
        app.router.routes.extend(router.routes)
    return app


def build(
    services: Services, *, trusted_proxies: str = "", observers: tuple[Observer, ...] = ()
) -> ASGIApp:
    """The whole application, as it is served. ``observers``: of requests (``server.traffic``)."""
    app: Any = ServerTime(
        StrictDoor(build_application(services)),
        services.now_ms,
        lambda: services.reign.successions,
    )
    if observers:
        app = Traffic(app, services.issuer.new_id, observers)
    if trusted_proxies:
        app = ProxyHeadersMiddleware(app, trusted_proxies)
    return cast(ASGIApp, app)


async def _answer_coded_error(request: Request, error: Exception) -> JSONResponse:
    response = await answer_coded_error(request, error)
    if isinstance(error, CodedError) and PROBLEMS[error.code].status == _UNAUTHORIZED:
        response.headers["www-authenticate"] = "Bearer"
    return response


async def _answer_store_error(request: Request, error: Exception) -> JSONResponse:
    """The disk is full, another process holds the lock, PostgreSQL is away: try again."""
    _log.error("store_refused", extra={"path": request.url.path, "error": str(error)})
    if isinstance(error, StoreAwayError):
        return problem_response(ErrorCode.NOT_READY, "the database does not answer")
    return problem_response(ErrorCode.NOT_READY, "the database did not take the transaction")

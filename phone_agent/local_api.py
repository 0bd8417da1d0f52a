"""What the running agent answers on its control socket (the owner's commands)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from phone_agent.family import Family
from phone_agent.ledger import KeptPayment
from twochannel.intake import StrictDoor, answer_coded_error, answer_failure, answer_http_error
from twochannel.protocol.errors import CodedError
from twochannel.protocol.statements import Decision
from twochannel.trial_notes import TrialNotes


class RunningAgent(Protocol):
    def status(self) -> dict[str, Any]: ...

    def payments(self) -> list[dict[str, Any]]: ...

    async def answer(self, payment: str, decision: Decision) -> dict[str, Any]: ...

    async def refresh(self) -> None: ...

    async def couple(self, method: str, jack: str) -> dict[str, Any]: ...

    def page_link(self) -> dict[str, Any]: ...

    @property
    def family(self) -> Family:
        """Further phones of this one's jacks."""
        ...

    @property
    def notes(self) -> TrialNotes:
        """What people tell of a field trial."""
        ...


def local_api(agent: RunningAgent) -> ASGIApp:
    """``GET /v1/status``, ``GET /v1/payments``, ``POST /v1/payments/{id}/approve`` and
    ``/decline``, ``POST /v1/methods/{id}/couplings/{jack}``, ``GET /v1/family`` (the phones of each
    jack), ``POST /v1/family/{jack}/invitations`` and ``/removals/{phone}``, ``POST /v1/refresh``
    (the wallet has changed), ``POST /v1/page`` (a new link), and the notes of a field trial."""

    async def status(_request: Request) -> JSONResponse:
        return JSONResponse(agent.status())

    async def payments(_request: Request) -> JSONResponse:
        return JSONResponse({"items": agent.payments()})

    async def refresh(_request: Request) -> JSONResponse:
        await agent.refresh()
        return JSONResponse({})

    async def couple(request: Request) -> JSONResponse:
        names = request.path_params
        return JSONResponse(await agent.couple(names["method"], names["jack"]))

    async def family(_request: Request) -> JSONResponse:
        return JSONResponse(await agent.family.phones())

    async def invite(request: Request) -> JSONResponse:
        return JSONResponse(await agent.family.invite(request.path_params["jack"]))

    async def remove_member(request: Request) -> JSONResponse:
        names = request.path_params
        return JSONResponse(await agent.family.remove(names["jack"], names["phone"]))

    async def page(_request: Request) -> JSONResponse:
        return JSONResponse(agent.page_link())

    app = Starlette(
        routes=[
            Route("/v1/status", status),
            Route("/v1/methods/{method}/couplings/{jack}", couple, methods=["POST"]),
            Route("/v1/family", family),
            Route("/v1/family/{jack}/invitations", invite, methods=["POST"]),
            Route("/v1/family/{jack}/removals/{phone}", remove_member, methods=["POST"]),
            Route("/v1/page", page, methods=["POST"]),
            Route("/v1/payments", payments),
            Route("/v1/refresh", refresh, methods=["POST"]),
            *(_answer_route(agent, decision) for decision in Decision),
            *agent.notes.routes(),
        ],
        exception_handlers={
            CodedError: answer_coded_error,
            HTTPException: answer_http_error,
            Exception: answer_failure,
        },
    )
    return StrictDoor(app)


def _answer_route(agent: RunningAgent, decision: Decision) -> Route:
    async def answer(request: Request) -> JSONResponse:
        return JSONResponse(await agent.answer(request.path_params["payment"], decision))

    endpoint: Callable[[Request], Awaitable[JSONResponse]] = answer
    return Route(f"/v1/payments/{{payment}}/{decision}", endpoint, methods=["POST"])


def payment_view(kept: KeptPayment, question: str | None = None) -> dict[str, Any]:
    """A payment for people and programs: what the server shows, and this phone's part in it.

    ``question``: the text of the question that the owner has not answered yet, else null.
    """
    answer = kept.answer
    shown = {name: kept.shown.get(name) for name in _SHOWN}
    return shown | {
        "id": kept.id,
        "decision": answer.decision.value if answer else None,
        "decided_by": answer.decided_by.value if answer else None,
        "why": answer.reason.value if answer else None,
        "closed": kept.closed,
        "received_ms": kept.received_ms,
        "question": question,
    }


_SHOWN = (
    "status",
    "amount",
    "capture",
    "authorized_minor",
    "captured_minor",
    "refunded_minor",
    "merchant",
    "lane",
    "reference",
    "description",
    "match_code",
    "reason",
    "expires_s",
)

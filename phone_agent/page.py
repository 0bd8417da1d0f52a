"""The owner's pages: their address, their door, and all that is behind it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from phone_agent import page_memory
from phone_agent.approval_page import ApprovalPage
from phone_agent.changes import QuestionChanges
from phone_agent.database import Database
from phone_agent.settings_pages import SettingsPages
from phone_agent.situation import PagedAgent, situation
from twochannel.intake import StrictDoor
from twochannel.pages.access import Access, Pass
from twochannel.pages.door import Doorway, Form, PageDoor, form_route
from twochannel.pages.rendering import LANGUAGE_COOKIE, Pages, static_files
from twochannel.pages.words import LANGUAGES
from twochannel.protocol.errors import PROBLEMS, CodedError
from twochannel.serving import serve_as_before

_TEMPLATES: Final = Path(__file__).with_name("templates")
#: What no question announces, such as a jack that is lost, is on an open page within this time.
_LOOK_S: Final = 2.0
#: Of open pages; one more ends with 503, and its browser tries again.
_MAX_STREAMS: Final = 8
_YEAR_S: Final = 365 * 24 * 3600


@asynccontextmanager
async def serving_pages(agent: PagedAgent, database: Database, port: int) -> AsyncIterator[Doorway]:
    """Serve the pages on loopback while the block runs. ``port``: 0 for the last one, or any.

    Raises OSError if the port is taken.
    """
    memory = page_memory.recall(database)

    def keep_sessions(sessions: list[Pass]) -> None:
        kept = page_memory.recall(database)
        page_memory.keep(database, replace(kept, sessions=sessions))

    doorway = Doorway(Access(memory.sessions, keep_sessions), lambda: int(time.time()))
    changes = QuestionChanges()
    agent.approvals.show_on(changes)
    app = pages_of(agent, doorway, changes)
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(serve_as_before(app, port, memory.port))
        stack.callback(changes.close)
        page_memory.keep(database, replace(memory, port=served.port or 0))
        doorway.origin = f"http://{memory.name}.localhost:{served.port}"
        yield doorway


def pages_of(agent: PagedAgent, doorway: Doorway, changes: QuestionChanges) -> ASGIApp:
    """The application: door, routes, and what is answered where there is none."""
    pages = Pages(_TEMPLATES)

    def locked(request: Request) -> Response:
        return pages.render(request, "locked.html", 401)

    async def refused(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        return pages.render(request, "refused.html", status, code="")

    async def coded(request: Request, error: Exception) -> Response:
        if not isinstance(error, CodedError):
            raise TypeError("registered for CodedError only")
        status = PROBLEMS[error.code].status
        return pages.render(request, "refused.html", status, code=error.code.value)

    app = Starlette(
        routes=[
            static_files(),
            Route("/events", _event_stream(agent, changes)),
            form_route("/language", doorway, _choose_language),
            *ApprovalPage(agent, pages).routes(doorway),
            *SettingsPages(agent, pages).routes(doorway),
        ],
        exception_handlers={HTTPException: refused, CodedError: coded},
    )
    return StrictDoor(PageDoor(app, doorway, locked))


def _event_stream(
    agent: PagedAgent, changes: QuestionChanges
) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that says what is new by a name for the situation; the page fetches itself."""
    streams = 0

    async def told() -> AsyncIterator[ServerSentEvent]:
        nonlocal streams
        streams += 1
        try:
            last = ""
            while not changes.closed:
                now = situation(agent)
                if now.version != last:
                    last = now.version
                    yield ServerSentEvent(last, event=now.event, retry=1000, sep="\n")
                await changes.wait(_LOOK_S)
        finally:
            streams -= 1

    async def endpoint(_request: Request) -> Response:
        if streams >= _MAX_STREAMS:
            raise HTTPException(503)
        return EventSourceResponse(told(), ping=15)

    return endpoint


async def _choose_language(_request: Request, form: Form) -> Response:
    language = form.get("language", "")
    answer = RedirectResponse("/", 303)
    if language in LANGUAGES:
        answer.set_cookie(
            LANGUAGE_COOKIE, language, max_age=_YEAR_S, httponly=True, samesite="strict"
        )
    return answer

"""The pages of one agent as a site: their address, their door, and the stream that keeps them new.

A page fetches itself when its stream says that something is new. What changes several times a
second, such as a level, is a *part*: a piece of the page that the stream carries whole.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from twochannel.changes import Changes
from twochannel.intake import StrictDoor
from twochannel.pages.access import Access
from twochannel.pages.door import Doorway, Form, PageDoor, form_route, origin
from twochannel.pages.memory import Remembering
from twochannel.pages.rendering import LANGUAGE_COOKIE, Pages, static_files
from twochannel.pages.words import LANGUAGES
from twochannel.protocol.errors import PROBLEMS, CodedError
from twochannel.serving import Address, serve_as_before
from twochannel.tls import Shown

#: Of open pages; one more ends with 503, and its browser tries again.
_MAX_STREAMS: Final = 8
_YEAR_S: Final = 365 * 24 * 3600


class Situation(Protocol):
    """What is the case now. ``version`` differs whenever anything on a page would, time aside."""

    @property
    def version(self) -> str: ...

    @property
    def event(self) -> str:
        """``asked`` if pages have to show the first one, else ``changed``."""
        ...


async def no_parts(_pages: Pages, _request: Request) -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class Site:
    """``templates``: a folder of the party's own. ``command``: prints a link that opens the pages.

    ``look_s``: what no change announces is on an open page within this time. ``parts``: HTML of
    the pieces that change often, each one element with an id, in the language of the request.
    ``uploads``: paths of ``upload_route``, which bound what is sent by themselves.
    """

    templates: Path
    command: str
    changes: Changes
    situation: Callable[[], Situation]
    routes: Callable[[Doorway, Pages], list[BaseRoute]]
    look_s: float = 2.0
    parts: Callable[[Pages, Request], Awaitable[Sequence[str]]] = no_parts
    uploads: frozenset[str] = frozenset()


@asynccontextmanager
async def serving(
    site: Site, remembering: Remembering, address: Address, shown: Shown | None = None
) -> AsyncIterator[Doorway]:
    """Serve the pages while the block runs: on loopback, under a name that only their link tells;
    or, with a certificate to show, under their address. Port 0: the last one, or any.

    Raises OSError if the address is none of this machine, or its port is taken.
    """
    access = Access(remembering.memory.sessions, remembering.keep_sessions)
    doorway = Doorway(access, lambda: int(time.time()))
    app = application(site, doorway)
    async with AsyncExitStack() as stack:
        tls = shown.context if shown else None
        listening = serve_as_before(app, address, remembering.memory.port, tls)
        served = await stack.enter_async_context(listening)
        stack.callback(site.changes.close)
        remembering.keep_port(served.port or 0)
        if shown is None:
            doorway.origin = origin("http", f"{remembering.memory.name}.localhost", served.port)
        else:
            doorway.origin = origin("https", address.host, served.port)
            doorway.certificate_sha256 = shown.sha256
        yield doorway


def application(site: Site, doorway: Doorway) -> ASGIApp:
    """Door, routes, and what is answered where there is none."""
    pages = Pages(site.templates)

    def locked(request: Request) -> Response:
        return pages.render(request, "locked.html", 401, command=site.command)

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
            Route("/events", _EventStream(site, pages).endpoint),
            form_route("/language", doorway, _choose_language),
            *site.routes(doorway, pages),
        ],
        exception_handlers={HTTPException: refused, CodedError: coded},
    )
    door = PageDoor(app, doorway, locked)
    strict = StrictDoor(door)

    async def entrance(scope: Scope, receive: Receive, send: Send) -> None:
        await (door if scope.get("path") in site.uploads else strict)(scope, receive, send)

    return entrance


class _EventStream:
    """Says what is new by a name for the situation, and sends the parts."""

    def __init__(self, site: Site, pages: Pages) -> None:
        self._site = site
        self._pages = pages
        self._streams = 0

    async def endpoint(self, request: Request) -> Response:
        if self._streams >= _MAX_STREAMS:
            raise HTTPException(503)
        return EventSourceResponse(self._told(request), ping=15)

    async def _told(self, request: Request) -> AsyncIterator[ServerSentEvent]:
        self._streams += 1
        try:
            last, shown = "", tuple[str, ...]()
            while not self._site.changes.closed:
                now = self._site.situation()
                if now.version != last:
                    last = now.version
                    yield ServerSentEvent(last, event=now.event, retry=1000, sep="\n")
                parts = tuple(await self._site.parts(self._pages, request))
                for part in set(parts) - set(shown):
                    yield ServerSentEvent(part, event="part", sep="\n")
                shown = parts
                await self._site.changes.wait(self._site.look_s)
        finally:
            self._streams -= 1


async def _choose_language(request: Request, form: Form) -> Response:
    language = form.get("language", "")
    answer = RedirectResponse("/", 303)
    if language in LANGUAGES:
        answer.set_cookie(
            LANGUAGE_COOKIE,
            language,
            max_age=_YEAR_S,
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
    return answer

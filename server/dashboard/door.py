"""The dashboard's door: who comes in, and which forms are its own.

- Everything but styles, scripts and the login needs the cookie of an open session, which only the
  host that set it gets back, only over TLS, and no script can read.
- What changes anything is a form of the dashboard's own: its ``Origin`` is this host, and it
  carries the session's token. The login, which has no session yet, has the first of the two.
- A page that fetches itself says so, and keeps no session open that nobody uses.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from server.dashboard.admins import any_admin
from server.dashboard.login import Attempt, LoggedIn, Login
from server.dashboard.reading import BROWSER_COOKIE, COOKIE, Reader, Templates, secret_of
from server.dashboard.sessions import (
    KNOWN_MS,
    LIFETIME_MS,
    Session,
    end_session,
    find_session,
    touch,
)
from server.routes.enrolments import address_of
from server.services import Services
from twochannel.pages.access import form_token, same
from twochannel.pages.door import TOKEN_FIELD, Form, guarded

LIVE_HEADER: Final = "x-live"
_OPEN: Final = ("/static/", "/style/")
_FIELDS: Final = 20


def admin_of(request: Request) -> str:
    session: Session = request.state.session
    return session.admin


async def read_form(request: Request) -> Form:
    """A form from a page of this host. Raises HTTPException."""
    if request.headers.get("origin") != f"https://{request.headers.get('host')}":
        raise HTTPException(403, "This form is of another page.")
    text = (await request.body()).decode("utf-8", "replace")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_FIELDS))
    except ValueError:
        raise HTTPException(400, "This is not a form of the dashboard.") from None


def form_route(path: str, take: Callable[[Request, Form], Awaitable[Response]]) -> Route:
    """A route for a form of the session's own; any other gets 403 and is not looked at."""

    async def endpoint(request: Request) -> Response:
        form = await read_form(request)
        if not same(form.pop(TOKEN_FIELD, ""), form_token(secret_of(request))):
            raise HTTPException(403, "This form is of another session. Load the page again.")
        return await take(request, form)

    return Route(path, endpoint, methods=["POST"])


class AdminDoor:
    """ASGI middleware around the pages. Sets ``request.state.session`` for what is behind it."""

    def __init__(
        self, app: ASGIApp, services: Services, reader: Reader, templates: Templates
    ) -> None:
        self._app = app
        self._services = services
        self._reader = reader
        self._templates = templates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = await self._answer(Request(scope))
        await (answer or self._app)(scope, receive, guarded(send))

    async def _answer(self, request: Request) -> Response | None:
        """What the door says itself; None: go on."""
        path = request.scope["path"]  # not by the URL, into which a Host header may go
        if path.startswith(_OPEN):
            return None
        session = await self._session(request)
        if session is not None:
            request.scope.setdefault("state", {})["session"] = session
            return None
        if not await self._reader.read(any_admin):
            return self._templates.page(request, "closed.html", 503)
        if path == "/login":
            return None
        if request.method == "GET" and LIVE_HEADER not in request.headers and path != "/events":
            return RedirectResponse("/login", 303)
        return self._templates.page(
            request, "refused.html", 401, problem="You are not logged in any more."
        )

    async def _session(self, request: Request) -> Session | None:
        secret, now_ms = secret_of(request), self._services.now_ms()
        if not secret:
            return None
        session = await self._reader.read(lambda c: find_session(c, secret, now_ms))
        by_hand = LIVE_HEADER not in request.headers and request.scope["path"] != "/events"
        if session is not None and session.stale and by_hand:
            digest = session.digest
            await self._services.store.write(lambda c: touch(c, digest, now_ms))
        return session


def _set_cookie(answer: Response, name: str, secret: str, lifetime_ms: int) -> None:
    """For this host alone, over TLS alone, and for no script."""
    seconds = lifetime_ms // 1000
    answer.set_cookie(name, secret, max_age=seconds, secure=True, httponly=True, samesite="strict")


@dataclass(frozen=True)
class LoginPages:
    """``/login`` and ``/logout``."""

    services: Services
    templates: Templates
    login: Login

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/login", self._ask),
            Route("/login", self._log_in, methods=["POST"]),
            form_route("/logout", self._log_out),
        ]

    async def _ask(self, request: Request) -> Response:
        return self.templates.page(request, "login.html", problem="")

    async def _log_in(self, request: Request) -> Response:
        form = await read_form(request)
        address = address_of(request)
        name, password, code = (form.get(field, "") for field in ("name", "password", "code"))
        browser = request.cookies.get(BROWSER_COOKIE, "")
        outcome = await self.login.log_in(Attempt(name, password, code, address, browser))
        if isinstance(outcome, LoggedIn):
            answer = RedirectResponse("/", 303)
            _set_cookie(answer, COOKIE, outcome.session, LIFETIME_MS)
            _set_cookie(answer, BROWSER_COOKIE, outcome.browser, KNOWN_MS)
            return answer
        if outcome.wait_s:
            minutes = -(-outcome.wait_s // 60)
            problem = f"Too many tries. Wait {minutes} min, then try again with a new code."
            page = self.templates.page(request, "login.html", 429, problem=problem)
            page.headers["retry-after"] = str(outcome.wait_s)
            return page
        problem = "That did not fit. Check name and password, and use a new code."
        return self.templates.page(request, "login.html", 401, problem=problem)

    async def _log_out(self, request: Request, _form: Form) -> Response:
        session: Session = request.state.session
        await self.services.store.write(lambda c: end_session(c, session.digest))
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(COOKIE, secure=True, httponly=True, samesite="strict")
        return answer

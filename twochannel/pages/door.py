"""The door of an agent's pages: which requests come from the person whom the agent has let in.

What stands outside is another page in the same browser, another program on the same machine, and
whoever shares the network. Therefore

- a request must name the page's own host, or it is answered 421: a foreign name that leads here
  (DNS rebinding) is not it;
- everything but style and script needs the cookie of a session, opened with a one-time key;
- what changes anything must be a form of the page's own: its ``Origin``, and the session's token;
- every answer forbids what the pages do not use: other hosts, frames, inline script, caches.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twochannel.pages.access import SESSION_LIFETIME_S, Access, form_token, same

_COOKIE: Final = "session"
#: Over TLS: browsers take a cookie of this name from nobody who speaks without.
_SECURE_COOKIE: Final = "__Host-session"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
OPEN: Final = "/open/"
STATIC: Final = "/static/"
TOKEN_FIELD: Final = "token"  # noqa: S105  # the name of a form's field
_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
    # "no-referrer" would take the origin from the page's own forms too.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
Form = dict[str, str]


@dataclass(slots=True)
class Doorway:
    """``origin``: scheme, host and port by which a browser knows the pages; empty until they have
    a port, and until then nobody is let in. ``certificate_sha256``: of what the browser is shown,
    lower-case hex; None without TLS."""

    access: Access
    now_s: Callable[[], int]
    origin: str = ""
    certificate_sha256: str | None = None

    @property
    def host(self) -> str:
        return urlsplit(self.origin).netloc

    def link(self) -> str:
        """A fresh link that opens one session."""
        key = secrets.token_urlsafe(16)
        self.access.invite(key, self.now_s())
        return f"{self.origin}{OPEN}{key}"

    def admits(self, request: Request) -> bool:
        return self.access.admits(session_of(request), self.now_s())


class PageDoor:
    """ASGI middleware around the pages. ``locked`` answers whoever has no session."""

    def __init__(
        self, app: ASGIApp, doorway: Doorway, locked: Callable[[Request], Response]
    ) -> None:
        self._app = app
        self._doorway = doorway
        self._locked = locked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = self._answer(Request(scope))
        await (answer or self._app)(scope, receive, guarded(send))

    def _answer(self, request: Request) -> Response | None:
        """What the door says itself; None: go on."""
        path = request.scope["path"]
        if request.headers.getlist("host") != [self._doorway.host]:
            return PlainTextResponse("This is not the name of this page.\n", 421)
        if path.startswith(STATIC):
            return None
        if path.startswith(OPEN):
            return self._open(request, path.removeprefix(OPEN))
        return None if self._doorway.admits(request) else self._locked(request)

    def _open(self, request: Request, key: str) -> Response:
        """Let in whoever has the key. A browser that only fetches ahead does not use it up."""
        session = secrets.token_urlsafe(24)
        wanted = request.method == "GET" and "sec-purpose" not in request.headers
        if not wanted or not self._doorway.access.redeem(key, session, self._doorway.now_s()):
            return self._locked(request)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            _cookie(request),
            session,
            max_age=SESSION_LIFETIME_S,
            secure=_is_secure(request),
            httponly=True,
            samesite="strict",
        )
        return answer


def session_of(request: Request) -> str:
    return request.cookies.get(_cookie(request), "")


def origin(scheme: str, host: str, port: int | None) -> str:
    """As a browser writes it, so that it can be compared."""
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}" + ("" if port == _DEFAULT_PORTS[scheme] else f":{port}")


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https"


def _cookie(request: Request) -> str:
    return _SECURE_COOKIE if _is_secure(request) else _COOKIE


def form_route(
    path: str, doorway: Doorway, take: Callable[[Request, Form], Awaitable[Response]]
) -> Route:
    """A route that takes a form of the page's own; any other gets 403 and is not looked at."""

    async def endpoint(request: Request) -> Response:
        demand_origin(request, doorway)
        form = dict(parse_qsl((await request.body()).decode("utf-8", "replace"), max_num_fields=40))
        demand_token(request, form.pop(TOKEN_FIELD, ""))
        return await take(request, form)

    return Route(path, endpoint, methods=["POST"])


def demand_origin(request: Request, doorway: Doorway) -> None:
    """Raises HTTPException (403) for a form of another page."""
    if request.headers.get("origin") != doorway.origin:
        raise HTTPException(403, "this form is of another page")


def demand_token(request: Request, token: str) -> None:
    """Raises HTTPException (403) for a form of another session."""
    if not same(token, form_token(session_of(request))):
        raise HTTPException(403, "this form is of another session")


def guarded(send: Send) -> Send:
    """``send``, with the headers that forbid what no page uses."""

    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
        await send(message)

    return with_headers

"""What the dashboard's pages share: how they read the database, and how they are written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from server.store import Store
from twochannel.pages.access import form_token
from twochannel.pages.words import words
from twochannel.protocol.errors import PROBLEMS, CodedError

T = TypeVar("T")

_TEMPLATES: Final = Path(__file__).with_name("templates")
#: Browsers hold such a cookie to its host, to TLS and to the whole of the site.
COOKIE: Final = "__Host-session"
#: Of a browser in which an admin has logged in.
BROWSER_COOKIE: Final = "__Host-browser"


class Reader:
    """Reads in one thread of its own, on connections of its own: payments never wait for it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, "dashboard-reader")

    async def read(self, function: Callable[[Connection], T]) -> T:
        """``Store.read``. Raises StoreError and what the function raises."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._store.read_now, function)

    def close(self) -> None:
        self._thread.shutdown()


def secret_of(request: Request) -> str:
    """What the session's cookie carries."""
    return request.cookies.get(COOKIE, "")


def moment(unix_ms: int) -> str:
    """Date and time of day in UTC, for machines and people are in several places."""
    return f"{datetime.fromtimestamp(unix_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def duration(ms: float) -> str:
    """``1234`` -> ``"1.2 s"``."""
    if ms < 1000:
        return f"{ms:.0f} ms"
    if ms < 120_000:
        return f"{ms / 1000:.1f} s"
    return f"{ms / 60_000:.0f} min" if ms < 7_200_000 else f"{ms / 3_600_000:.0f} h"


class Templates:
    """Renders the folder's templates. English: an operator's words are those of the commands."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(money=words("en").money, moment=moment, duration=duration)

    def page(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        session = request.scope.get("state", {}).get("session")
        text = self._environment.get_template(template).render(
            path=request.scope["path"],
            admin=session.admin if session else "",
            token=form_token(secret_of(request)),
            **values,
        )
        return HTMLResponse(text, status)

    async def refused(self, request: Request, error: Exception) -> Response:
        """For the errors that pages raise."""
        status, problem = 503, "The database did not answer. Try again in a moment."
        if isinstance(error, HTTPException):
            status, problem = error.status_code, error.detail
        elif isinstance(error, CodedError):
            status, problem = PROBLEMS[error.code].status, error.detail
        return self.page(request, "refused.html", status, problem=problem)

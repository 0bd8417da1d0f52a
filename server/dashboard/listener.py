"""The dashboard's own listener: its address, its door, its reader of the database."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from server.config import ServerSettings
from server.dashboard.door import AdminDoor, LoginPages
from server.dashboard.live import Live
from server.dashboard.login import Login
from server.dashboard.overview_pages import OverviewPages
from server.dashboard.payment_pages import PaymentPages
from server.dashboard.reading import Reader, Templates
from server.dashboard.review_pages import ReviewPages
from server.services import Services
from server.store import Store, StoreError
from twochannel.intake import StrictDoor
from twochannel.pages.rendering import static_files
from twochannel.protocol.errors import CodedError
from twochannel.serving import Address, serve

_log = logging.getLogger(__name__)

_STATIC: Final = Path(__file__).with_name("static")
#: A handful of admins with a few pages each.
_CONNECTIONS: Final = 64


@asynccontextmanager
async def serving(
    services: Services, store: Store, settings: ServerSettings, tls: ssl.SSLContext | None
) -> AsyncIterator[None]:
    """Serve it while the block runs. ``store``: for its reads alone. Raises OSError."""
    reader = Reader(store)
    try:
        app = application(services, reader, settings.trusted_proxies)
        address = Address(settings.dashboard_host, settings.dashboard_port or 0)
        async with serve(app, address, tls, connections=_CONNECTIONS) as served:
            scheme = "http" if tls is None else "https"
            url = f"{scheme}://{settings.dashboard_host}:{served.port}/"
            _log.info("dashboard_served", extra={"url": url})
            yield
    finally:
        await asyncio.to_thread(reader.close)


def application(services: Services, reader: Reader, trusted_proxies: str = "") -> ASGIApp:
    """The door, and the pages behind it."""
    templates = Templates()
    login = LoginPages(services, templates, Login(services))
    app = Starlette(
        routes=[
            static_files(),
            Mount("/style", StaticFiles(directory=_STATIC)),
            Route("/events", Live(services, reader).endpoint),
            *login.routes(),
            *PaymentPages(services, reader, templates).routes(),
            *OverviewPages(services, reader, templates).routes(),
            *ReviewPages(services, reader, templates).routes(),
        ],
        exception_handlers={
            HTTPException: templates.refused,
            CodedError: templates.refused,
            StoreError: templates.refused,
        },
    )
    door: Any = StrictDoor(AdminDoor(app, services, reader, templates))
    if trusted_proxies:
        door = ProxyHeadersMiddleware(door, trusted_proxies)
    return cast(ASGIApp, door)

"""Where the running terminal is asked: its command line's socket, tills, and the lane page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from payment_device import till_access
from payment_device.config import TerminalSettings
from payment_device.forecourt import Forecourt
from payment_device.lane_page import LanePage, serving_pages
from payment_device.lane_radio import LaneRadio
from payment_device.local_api import LocalApi
from payment_device.pump_api import pump_routes
from payment_device.terminal import Terminal
from payment_device.till_access import TillAccess, TokenDoor
from twochannel.changes import Changes
from twochannel.pages.door import Doorway
from twochannel.serving import Address, serve, serve_as_before
from twochannel.trial_notes import TrialNotes


@dataclass(frozen=True)
class Doors:
    """``status``: what is told of the terminal. ``state``: its folder."""

    terminal: Terminal
    radio: LaneRadio
    changes: Changes
    status: Callable[[], dict[str, Any]]
    settings: TerminalSettings
    state: Path
    forecourt: Forecourt | None
    notes: TrialNotes

    @asynccontextmanager
    async def open(self, socket: Path) -> AsyncIterator[None]:
        """All of them while the block runs. Raises OSError if a port is taken."""
        api = LocalApi(self.terminal, self.radio, self.changes, self.status)
        pump = pump_routes(self.forecourt) if self.forecourt else []
        async with AsyncExitStack() as stack:
            doorway = await stack.enter_async_context(self._pages())
            await stack.enter_async_context(self._tills(api.application(*pump)))
            own = api.application(*pump, *self.notes.routes(), _page_route(doorway))
            await stack.enter_async_context(serve(own, Address(socket=socket)))
            # Streams end before their servers wait for them.
            stack.callback(self.changes.close)
            yield

    @asynccontextmanager
    async def _pages(self) -> AsyncIterator[Doorway]:
        currencies = tuple(self.settings.currencies.split())
        page = LanePage(
            self.terminal, self.radio, self.status, currencies, self.notes, self.forecourt
        )
        pages = serving_pages(page, self.changes, self.state, self.settings.page_port)
        async with pages as doorway:
            yield doorway

    @asynccontextmanager
    async def _tills(self, api: Starlette) -> AsyncIterator[None]:
        elsewhere = self.settings.till_file
        file = Path(elsewhere) if elsewhere else self.state / till_access.FILE_NAME
        access = TillAccess.recall(file)
        door = TokenDoor(api, access.token)
        till = Address(port=self.settings.till_port)
        async with serve_as_before(door, till, access.port) as served:
            told = replace(access, url=f"http://127.0.0.1:{served.port}")
            told.keep(file, for_the_group=bool(elsewhere))
            yield


def _page_route(doorway: Doorway) -> Route:
    """A fresh link to the lane page, for whoever has the socket."""

    async def page(_request: Request) -> Response:
        return JSONResponse({"url": doorway.link()})

    return Route("/v1/page", page, methods=["POST"])

"""``/devices``, ``/timing``, ``/record``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from server.dashboard.admins import recent_actions
from server.dashboard.figures import (
    DEVICES,
    MEASURED,
    count_failed,
    list_jacks,
    list_phones,
    list_terminals,
    measure,
)
from server.dashboard.reading import Reader, Templates
from server.kinds import FailureKind
from server.notifications import phone_topic
from server.services import Services
from twochannel.protocol.limits import FAILURE_WINDOW_S

_ACTIONS: Final = 100


@dataclass(frozen=True, slots=True)
class OverviewPages:
    services: Services
    reader: Reader
    templates: Templates

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/devices", self._devices),
            Route("/timing", self._timing),
            Route("/record", self._record),
        ]

    async def _devices(self, request: Request) -> Response:
        now_ms, failures = self.services.now_ms(), self.services.allowances.failures
        terminals, phones, jacks, failed = await self.reader.read(
            lambda c: (list_terminals(c), list_phones(c), list_jacks(c), count_failed(c, now_ms))
        )
        listened = self.services.notifications.listened
        connected = {row.id for row in phones.newest if listened(phone_topic(row.id))}
        return self.templates.page(
            request,
            "devices.html",
            terminals=terminals,
            phones=phones,
            jacks=jacks,
            connected=connected,
            now_ms=now_ms,
            words=self.services.last_heard.of,
            failed=failed,
            permitted={
                "terminal": failures[FailureKind.CODE],
                "phone": failures[FailureKind.CONFIRMATION],
            },
            window=FAILURE_WINDOW_S // 60,
            most=DEVICES,
            shared=self.services.store.shared,
        )

    async def _timing(self, request: Request) -> Response:
        now_ms = self.services.now_ms()
        legs = await self.reader.read(lambda c: measure(c, now_ms))
        return self.templates.page(request, "timing.html", legs=legs, most=MEASURED)

    async def _record(self, request: Request) -> Response:
        def read(connection: Connection) -> list[object]:
            return recent_actions(connection, _ACTIONS)

        actions = await self.reader.read(read)
        return self.templates.page(request, "record.html", actions=actions, most=_ACTIONS)

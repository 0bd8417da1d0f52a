"""An admin at the dashboard of a running server: logs in with real codes, reads pages."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pyotp

from server.dashboard.admins import Credentials, add_admin, make_credentials
from tests.ports import free_port
from tests.server.bench import DEADLINE_S, Bench, running
from tests.server.devices import Devices
from twochannel.tls import client_context
from twochannel.trace import wall_ms

_STEP_S = 30
#: More than a login takes, on a busy machine too.
_LOGIN_S = 5
NAME, PASSWORD = "ada", "correct horse battery"


@dataclass
class AdminDesk:
    """``codes_used``: codes count once, so that each login takes that of another step."""

    bench: Bench
    url: str
    http: httpx.AsyncClient
    credentials: Credentials
    codes_used: int = 0

    def code(self) -> str:
        """A fresh one: of the step before, of this one, of the next. Three logins and no more."""
        self.codes_used += 1
        left_s = _STEP_S - wall_ms() / 1000 % _STEP_S
        if left_s < _LOGIN_S:  # else the step could end before the code is looked at
            time.sleep(left_s)
        now_s = wall_ms() // 1000 + _STEP_S * (self.codes_used - 2)
        return pyotp.TOTP(self.credentials.totp_secret).at(now_s)

    async def log_in(self, **changes: str) -> httpx.Response:
        form = {"name": NAME, "password": PASSWORD, "code": ""} | changes
        form["code"] = form["code"] or self.code()
        return await self.post("/login", form)

    async def post(self, path: str, form: dict[str, str], **headers: str) -> httpx.Response:
        return await self.http.post(path, data=form, headers={"origin": self.url} | headers)

    async def token(self) -> str:
        """The session's, from a page."""
        found = re.search(r'name="token" value="([0-9a-f]+)"', (await self.page("/")).text)
        assert found is not None
        return found[1]

    async def page(self, path: str) -> httpx.Response:
        answer = await self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer


@asynccontextmanager
async def dashboard(
    folder: Any, devices: Devices | None = None, *, admin: bool = True, **settings: Any
) -> AsyncIterator[AdminDesk]:
    """The server of ``folder`` with its dashboard, and one admin."""
    port = free_port()
    made = make_credentials(PASSWORD)
    async with running(folder, devices, dashboard_port=port, **settings) as bench:
        if admin:
            bench.store.write_now(lambda c: add_admin(c, NAME, made, wall_ms()))
        url = f"https://127.0.0.1:{port}"
        context = client_context(folder.certificate())
        async with httpx.AsyncClient(
            base_url=url, verify=context, timeout=DEADLINE_S, trust_env=False
        ) as http:
            yield AdminDesk(bench, url, http, made)

"""Devices and admins come through a real nginx, with the configuration that is shipped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from httpx_sse import EventSource

from server.dashboard.admins import recent_actions
from server.state import StateFolder
from tests.nginx import Nginx, documented_settings, nginx
from tests.server.admin_desk import NAME, AdminDesk, dashboard
from tests.server.bench import DEADLINE_S, JWT, Bench, check_problem, copied, make_folder, running
from tests.server.devices import Devices
from tests.server.streams import Stream
from tests.server.test_typed_client import paid_through
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.statements import Role
from twochannel.tls import client_context

pytestmark = pytest.mark.nginx

#: All but the places, which are the test's own.
_SETTINGS = {name: documented_settings()[name] for name in ("tls", "trusted_proxies")}
#: The address of a client, which is no other's on this machine and not the proxy's.
_CLIENT = "127.0.0.2"
#: What a client claims to be.
_FORGED = {"x-forwarded-for": "203.0.113.9"}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A server that nobody but the proxy should reach."""
    async with running(
        make_folder(tmp_path / "server"), **_SETTINGS, failed_enrolments_per_address=2
    ) as bench:
        await bench.enrol()
        yield bench


@pytest.fixture
async def proxy(bench: Bench, tmp_path: Path) -> AsyncIterator[Nginx]:
    async with nginx(tmp_path / "nginx", bench.folder.path, bench.url) as proxy:
        yield proxy


@pytest.fixture
async def desk(prepared: tuple[StateFolder, Devices], tmp_path: Path) -> AsyncIterator[AdminDesk]:
    """An admin whose browser knows the proxy's address and certificate, and no other."""
    own = copied(prepared, tmp_path / "server")
    async with (
        dashboard(*own, **_SETTINGS, failed_logins=3) as direct,
        _before(direct, tmp_path / "nginx") as proxy,
        _browser(proxy) as http,
    ):
        yield replace(direct, url=proxy.dashboard_url, http=http)


@asynccontextmanager
async def _before(desk: AdminDesk, folder: Path) -> AsyncIterator[Nginx]:
    state, port = desk.bench.folder.path, urlsplit(desk.url).port or 0
    async with nginx(folder, state, desk.bench.url, port) as proxy:
        yield proxy


def _browser(proxy: Nginx) -> httpx.AsyncClient:
    context = client_context(proxy.certificate)
    transport = httpx.AsyncHTTPTransport(verify=context, local_address=_CLIENT)
    return httpx.AsyncClient(
        base_url=proxy.dashboard_url, transport=transport, timeout=DEADLINE_S, headers=_FORGED
    )


async def test_a_payment_and_its_events_at_once(bench: Bench, proxy: Nginx) -> None:
    """Devices pin the server, enrol, are asked, told and paid through it."""
    await paid_through(bench, proxy.url)
    assert proxy.told() == ""


async def test_who_guesses_through_it_is_told_apart_by_address(bench: Bench, proxy: Nginx) -> None:
    context = client_context(bench.folder.certificate())
    transport = httpx.AsyncHTTPTransport(verify=context, local_address=_CLIENT)
    devices = bench.devices
    async with httpx.AsyncClient(base_url=proxy.url, transport=transport) as http:
        for code in (ErrorCode.ENROLMENT_CODE_REFUSED,) * 2 + (ErrorCode.TOO_MANY_ENROLMENTS,):
            wrong = devices.enrolment(devices.terminal, Role.TERMINAL, "A" * 22)
            answer = await http.post("/v1/enrolments", content=wrong, headers=JWT | _FORGED)
            check_problem(answer, code)
    assert {row[0] for row in bench.rows("SELECT subject FROM failures")} == {_CLIENT}


async def test_an_admin_logs_in_with_cookies_for_that_host_over_tls(desk: AdminDesk) -> None:
    answer = await desk.log_in()
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    for cookie in answer.headers.get_list("set-cookie"):
        assert cookie.startswith("__Host-")
        assert "Secure" in cookie
        assert "Domain" not in cookie
    page = await desk.page("/")
    assert "No payment yet" in page.text
    assert "content-encoding" not in page.headers
    actions = desk.bench.store.read_now(lambda c: recent_actions(c, 9))
    assert [(a.admin, a.action, a.detail) for a in actions] == [(NAME, "log in", f"from {_CLIENT}")]


async def test_an_admin_is_told_apart_by_address_too(desk: AdminDesk) -> None:
    for _ in range(3):
        assert (await desk.log_in(password="wrong horse battery", code="123456")).status_code == 401
    assert (await desk.log_in()).status_code == 429
    subjects = desk.bench.rows("SELECT DISTINCT subject FROM failures ORDER BY subject")
    assert subjects == [(f"admin-from:{_CLIENT}",), (f"admin:{NAME}",)]


async def test_forms_of_others_are_not_looked_at(desk: AdminDesk) -> None:
    form = {"name": NAME, "password": "wrong horse battery", "code": "123456"}
    for origin in ("https://evil.example", "https://127.0.0.1", desk.url.replace("https", "http")):
        assert (await desk.post("/login", form, origin=origin)).status_code == 403
    await desk.log_in()
    token = await desk.token()
    evil = await desk.post("/logout", {"token": token}, origin="https://evil.example")
    assert evil.status_code == 403
    assert (await desk.post("/logout", {"token": token})).status_code == 303


async def test_an_open_page_is_told_of_a_payment_at_once(desk: AdminDesk) -> None:
    await desk.log_in()
    async with desk.http.stream("GET", "/events") as answer:
        events = Stream(EventSource(answer))
        before = await events.next()
        await desk.bench.pending()
        assert (await events.next()).data != before.data

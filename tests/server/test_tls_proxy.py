"""Devices that pin the server's certificate pay through a proxy that has it; it speaks HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from server.client import ServerClient
from server.contact import ServerUnreachableError
from tests.server.bench import JWT, Bench, check_problem, make_folder, running
from tests.server.test_typed_client import paid_through, pinned
from tests.server.tls_proxy import TlsProxy, tls_proxy
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.statements import Role
from twochannel.tls import client_context

#: The proxy's address, and that of a device which is no other's on this machine.
_PROXY, _DEVICE = "127.0.0.1", "127.0.0.2"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A server that nobody but the proxy should reach."""
    async with running(
        make_folder(tmp_path / "server"),
        tls=False,
        trusted_proxies=_PROXY,
        failed_enrolments_per_address=2,
    ) as bench:
        await bench.enrol()
        yield bench


@pytest.fixture
async def proxy(bench: Bench) -> AsyncIterator[TlsProxy]:
    assert bench.url.startswith("http://")
    async with tls_proxy(bench.folder.path, bench.url) as proxy:
        yield proxy


async def test_a_payment_of_devices_that_pin_the_server(bench: Bench, proxy: TlsProxy) -> None:
    """They enrol, are asked, told and paid through it, and know no other address."""
    await paid_through(bench, proxy.url)
    # The well-known document, the enrolment, the events, the request, the confirmation.
    assert proxy.seen == {_PROXY: 5}


async def test_a_proxy_with_another_certificate_is_nobody(
    bench: Bench, proxy: TlsProxy, tmp_path: Path
) -> None:
    """What is pinned is the server's certificate: a proxy with one of its own reads nothing."""
    pin, _ = await pinned(bench, Role.PHONE, proxy.url)
    other = make_folder(tmp_path / "other" / "server")
    async with tls_proxy(other.path, bench.url) as impostor:
        moved = replace(pin, url=impostor.url)
        async with ServerClient(moved, bench.devices.phone) as phone:
            with pytest.raises(ServerUnreachableError):
                await phone.methods()
    assert impostor.seen == {}


async def test_who_guesses_through_the_proxy_is_told_apart_by_address(
    bench: Bench, proxy: TlsProxy
) -> None:
    context = client_context(bench.folder.certificate())
    transport = httpx.AsyncHTTPTransport(verify=context, local_address=_DEVICE)
    devices = bench.devices
    async with httpx.AsyncClient(base_url=proxy.url, transport=transport) as http:
        for code in (ErrorCode.ENROLMENT_CODE_REFUSED,) * 2 + (ErrorCode.TOO_MANY_ENROLMENTS,):
            wrong = devices.enrolment(devices.terminal, Role.TERMINAL, "A" * 22)
            check_problem(await http.post("/v1/enrolments", content=wrong, headers=JWT), code)
    assert {row[0] for row in bench.rows("SELECT subject FROM failures")} == {_DEVICE}
    assert proxy.seen == {_DEVICE: 3}

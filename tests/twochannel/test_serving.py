"""Serving inside an agent's loop: real sockets, free ports, prompt ends."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from twochannel import tls
from twochannel.serving import Address, serve


async def _hello(_request: Request) -> Response:
    return PlainTextResponse("hello")


async def _never(_request: Request) -> Response:
    await asyncio.Event().wait()
    raise AssertionError("an event that nobody sets was set")


async def _long(_request: Request) -> Response:
    return Response(bytes(LONG_BYTES))


#: More than all that kernels hold back for a client that does not read.
LONG_BYTES = 32 << 20
APP = Starlette(routes=[Route("/", _hello), Route("/never", _never), Route("/long", _long)])


async def test_a_free_port_is_chosen_and_told() -> None:
    async with serve(APP, Address()) as served:
        assert served.port
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.get(f"http://127.0.0.1:{served.port}/")).text == "hello"
    assert served.ended.done()


async def test_a_unix_socket_has_no_port(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with serve(APP, Address(socket=path)) as served:
        assert served.port is None
        assert path.stat().st_mode & 0o777 == 0o600
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport) as http:
            assert (await http.get("http://agent/")).text == "hello"
    assert not path.exists()


async def test_a_taken_port_is_an_error_with_the_address() -> None:
    async with serve(APP, Address()) as first:
        assert first.port
        with pytest.raises(OSError, match=f"127.0.0.1:{first.port}"):
            async with serve(APP, Address(port=first.port)):
                pytest.fail("two servers on one port")


async def test_leaving_does_not_wait_for_requests_that_never_end() -> None:
    async with asyncio.timeout(20):
        async with serve(APP, Address(), grace_s=1) as served:
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(b"GET /never HTTP/1.1\r\nhost: x\r\n\r\n")
            await writer.drain()
        await reader.read()
        writer.close()
        await writer.wait_closed()


async def test_leaving_does_not_wait_for_clients_that_ask_nothing() -> None:
    """An idle client over TLS does not look at its connection, and does not answer the goodbye."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = tls.make_certificate(key, "x", 1)
    trusted = tls.client_context(certificate)
    own = tls.server_context(certificate, key)
    async with (
        asyncio.timeout(20),
        httpx.AsyncClient(verify=trusted, trust_env=False) as http,
        serve(APP, Address(), own, grace_s=60) as served,
    ):
        assert (await http.get(f"https://127.0.0.1:{served.port}/")).text == "hello"


async def test_leaving_cuts_no_answer_short_that_a_client_takes_slowly() -> None:
    async with asyncio.timeout(60), AsyncExitStack() as stack:
        served = await stack.enter_async_context(serve(APP, Address(), grace_s=50))
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"GET /long HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        leaving = asyncio.create_task(stack.aclose())
        await asyncio.sleep(1)
        body = await reader.read()
        await leaving
        writer.close()
    assert len(body) == LONG_BYTES

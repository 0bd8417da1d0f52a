"""Request heads without end: of one header, of many, of nothing at all."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from twochannel import bounded_http
from twochannel.bounded_http import MAX_HEAD_BYTES
from twochannel.serving import Address, serve


async def _echo(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


APP = Starlette(routes=[Route("/", _echo, methods=["GET", "POST"])])
REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK"


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with serve(APP, Address()) as served:
        assert served.port
        yield served.port


async def talk(port: int, *pieces: bytes) -> bytes:
    """All that the server says until it ends the connection; ``pieces`` arrive one by one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heard = b""
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        async with asyncio.timeout(20):
            while part := await reader.read(65536):
                heard += part
    except OSError:
        pass  # ended in the middle of what we say
    writer.transport.abort()
    return heard


async def test_one_header_without_end_is_cut_off(port: int) -> None:
    head = [b"GET / HTTP/1.1\r\nx: ", *[b"a" * 4096] * 1000]
    assert OK not in await talk(port, *head)


async def test_headers_in_their_thousands_are_refused(port: int) -> None:
    headers = b"".join(b"x-%d: y\r\n" % number for number in range(MAX_HEAD_BYTES // 4))
    heard = await talk(port, REQUEST[:-2] + headers + b"\r\n")
    assert OK not in heard


async def test_a_path_without_end_is_refused(port: int) -> None:
    assert OK not in await talk(port, b"GET /" + b"a" * 60_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n")


async def test_the_head_alone_is_bounded_and_not_the_body(port: int) -> None:
    body = b"a" * (4 * MAX_HEAD_BYTES)
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    closing = REQUEST[:-2] + b"connection: close\r\n\r\n"
    heard = await talk(port, head + body, head, body + closing)
    assert heard.count(OK) == 3
    assert heard.count(str(len(body)).encode()) == 2


@pytest.mark.parametrize("said", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nhost: x\r\n"])
async def test_a_head_that_does_not_come_is_not_waited_for(
    port: int, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_http, "HEAD_TIMEOUT_S", 0.05)
    assert await talk(port, said) == b""


def test_agents_that_serve_no_strangers_need_no_httptools() -> None:
    """A jack, terminal or phone is installed without it."""
    code = "import sys, twochannel.serving; sys.exit('httptools' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_the_next_head_is_not_waited_for_either(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_http, "HEAD_TIMEOUT_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST)
    assert OK in await reader.readuntil(b"\r\n\r\n0")
    writer.write(b"GET / HT")
    assert await reader.read() == b""
    writer.transport.abort()


async def test_an_idle_connection_keeps_its_own_longer_time(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_http, "HEAD_TIMEOUT_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for pause_s in (0.0, 0.1):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(pause_s):
                await reader.read(1)
        writer.write(REQUEST)
        assert OK in await reader.readuntil(b"\r\n\r\n0")
    writer.transport.abort()

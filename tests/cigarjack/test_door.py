"""Floods and sitters at the door: strangers are dropped, the phone is served."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cigarjack import door
from cigarjack.door import MAX_STRANGERS, guarded
from cigarjack.local_service import application
from tests.cigarjack.parties import LOOPBACK, Jack, Phone
from twochannel import tls

REQUEST = b"GET / HTTP/1.1\r\nhost: jack\r\n\r\n"


async def greet(_request: Request) -> Response:
    return Response("hello")


@asynccontextmanager
async def a_door(jack: Jack, phone: Phone | None) -> AsyncIterator[int]:
    """For ``phone`` alone, or for anyone."""
    clients = [phone.certificate] if phone else []
    context = tls.server_context(jack.identity.certificate, jack.identity.tls_key, clients)
    app = application([Route("/", greet)])
    async with guarded(app, LOOPBACK, 0, context, proves=phone is not None) as port:
        yield port


def contact(jack: Jack, phone: Phone) -> ssl.SSLContext:
    return tls.client_context(jack.identity.certificate, phone.certificate, phone.tls_key)


async def visit(port: int, context: ssl.SSLContext) -> bytes:
    """One request over a connection of its own; the status line."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port, ssl=context)
    try:
        writer.write(REQUEST)
        return (await reader.readuntil(b"\r\n")).strip()
    finally:
        writer.transport.abort()


async def knock(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(LOOPBACK, port)


async def ended(reader: asyncio.StreamReader) -> None:
    """The other side has closed or reset the connection."""
    try:
        while await reader.read(1024):
            pass
    except OSError:
        return


async def test_silent_strangers_by_the_hundred_do_not_keep_the_phone_out(
    unpaired: Jack, phone: Phone
) -> None:
    async with asyncio.timeout(30), a_door(unpaired, phone) as port:
        strangers = [await knock(port) for _ in range(5 * MAX_STRANGERS)]
        assert await visit(port, contact(unpaired, phone)) == b"HTTP/1.1 200 OK"
        for reader, _ in strangers[: 4 * MAX_STRANGERS]:
            await ended(reader)
        for _, writer in strangers:
            writer.transport.abort()


async def test_a_connection_of_the_phone_outlives_any_flood(unpaired: Jack, phone: Phone) -> None:
    async with asyncio.timeout(30), a_door(unpaired, phone) as port:
        context = contact(unpaired, phone)
        reader, writer = await asyncio.open_connection(LOOPBACK, port, ssl=context)
        writer.write(REQUEST)
        await reader.readuntil(b"hello")
        strangers = [await knock(port) for _ in range(2 * MAX_STRANGERS)]
        await ended(strangers[0][0])
        writer.write(REQUEST)
        await reader.readuntil(b"hello")
        for _, each in [*strangers, (reader, writer)]:
            each.transport.abort()


async def test_a_handshake_that_is_never_finished_ends(
    unpaired: Jack, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "HANDSHAKE_TIMEOUT_S", 0.05)
    async with asyncio.timeout(10), a_door(unpaired, phone) as port:
        reader, writer = await knock(port)
        await ended(reader)
        writer.transport.abort()


async def test_nobody_sits_at_the_pairing_desk(
    unpaired: Jack, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "STRANGER_LIFETIME_S", 0.1)
    async with asyncio.timeout(10), a_door(unpaired, None) as port:
        context = tls.first_contact_context()
        reader, writer = await asyncio.open_connection(LOOPBACK, port, ssl=context)
        await ended(reader)
        writer.transport.abort()
        assert await visit(port, context) == b"HTTP/1.1 200 OK"


async def test_bytes_that_are_not_tls_harm_nobody(unpaired: Jack, phone: Phone) -> None:
    async with asyncio.timeout(10), a_door(unpaired, phone) as port:
        for _ in range(20):
            reader, writer = await knock(port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await ended(reader)
            writer.transport.abort()
        assert await visit(port, contact(unpaired, phone)) == b"HTTP/1.1 200 OK"


async def test_leaving_closes_the_door_and_frees_its_port(unpaired: Jack, phone: Phone) -> None:
    async with a_door(unpaired, phone) as port:
        reader, writer = await knock(port)
    async with asyncio.timeout(10):
        await ended(reader)
        writer.transport.abort()
    with pytest.raises(OSError, match="Connect call failed"):
        await knock(port)
    with socket.create_server((LOOPBACK, port)):
        pass


async def test_a_port_in_use_is_an_error(unpaired: Jack, phone: Phone) -> None:
    context = tls.server_context(unpaired.identity.certificate, unpaired.identity.tls_key)
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            async with guarded(application([]), LOOPBACK, port, context, proves=True):
                pass


class Exhausted(socket.socket):
    """A listener whose process has no file descriptors left, once."""

    failures = 1

    def accept(self) -> tuple[socket.socket, object]:
        if Exhausted.failures:
            Exhausted.failures -= 1
            raise OSError(24, "Too many open files")
        return super().accept()


async def test_running_out_of_descriptors_is_survived(
    unpaired: Jack, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listen(_host: str, _port: int) -> socket.socket:
        listener = Exhausted()
        listener.bind((LOOPBACK, 0))
        listener.listen()
        listener.setblocking(False)
        return listener

    monkeypatch.setattr(door, "_listen", listen)
    monkeypatch.setattr(door, "_ACCEPT_PAUSE_S", 0.01)
    async with asyncio.timeout(10), a_door(unpaired, phone) as port:
        assert await visit(port, contact(unpaired, phone)) == b"HTTP/1.1 200 OK"
    assert Exhausted.failures == 0

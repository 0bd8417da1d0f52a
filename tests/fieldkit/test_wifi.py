"""The Wi-Fi of the bench: it carries, it falls silent without a word, and it comes back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fieldkit.wifi import Wifi

NEAR, FAR = "127.0.0.1", "127.0.0.2"
BRIEFLY_S = 0.2


@asynccontextmanager
async def echo(port: int) -> AsyncIterator[None]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    async with await asyncio.start_server(answer, FAR, port):
        yield


async def test_it_carries_falls_silent_and_comes_back() -> None:
    async with Wifi(NEAR, FAR) as wifi, echo(wifi.port):
        reader, writer = await asyncio.open_connection(NEAR, wifi.port)
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        await wifi.cut()
        writer.write(b"two")
        await writer.drain()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(3), BRIEFLY_S)
        late_reader, late = await asyncio.open_connection(NEAR, wifi.port)
        late.write(b"new")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(late_reader.read(3), BRIEFLY_S)
        await wifi.mend()
        assert await reader.readexactly(3) == b"two"
        assert await late_reader.readexactly(3) == b"new"
        for end in (writer, late):
            end.close()
            await end.wait_closed()


async def test_what_was_given_up_does_not_arrive_later() -> None:
    heard: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            heard.append(data)
            writer.write(data)
        writer.close()

    async with Wifi(NEAR, FAR) as wifi, await asyncio.start_server(note, FAR, wifi.port):
        reader, writer = await asyncio.open_connection(NEAR, wifi.port)
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        await wifi.cut()
        writer.write(b"two")
        await writer.drain()
        writer.write(b"and a farewell")
        writer.close()
        await writer.wait_closed()
        later, again = await asyncio.open_connection(NEAR, wifi.port)
        await wifi.mend()
        again.write(b"new")
        assert await later.readexactly(3) == b"new"
        again.close()
        await again.wait_closed()
    assert heard == [b"one", b"new"]


async def test_where_nobody_listens_the_connection_ends() -> None:
    async with Wifi(NEAR, FAR) as wifi:
        reader, writer = await asyncio.open_connection(NEAR, wifi.port)
        assert await reader.read() == b""
        writer.close()


async def test_after_the_block_nothing_is_left() -> None:
    async with Wifi(NEAR, FAR) as wifi, echo(wifi.port):
        await wifi.cut()
        reader, writer = await asyncio.open_connection(NEAR, wifi.port)
    assert await reader.read() == b""
    writer.close()
    with pytest.raises(ConnectionRefusedError), socket.create_connection((NEAR, wifi.port)):
        pass

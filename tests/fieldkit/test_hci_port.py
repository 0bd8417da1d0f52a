"""Controllers over TCP: hosts come, go, die and misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest
from bumble import hci

from fieldkit import hci_port
from fieldkit.air import Air
from fieldkit.air_commands import Plug, Unplug

RESET = bytes(hci.HCI_Reset_Command())
RESET_ANSWER = bytes.fromhex("040e0401030c00")
ADDRESS = hci.HCI_LE_Set_Random_Address_Command(random_address=hci.Address("01:02:03:04:05:06"))


class RawHost:
    """A host that speaks HCI byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def exchange(self, command: bytes) -> bytes:
        self.writer.write(command)
        head = await asyncio.wait_for(self.reader.readexactly(3), 10)
        return head + await self.reader.readexactly(head[2])

    async def closed_by_peer(self) -> bool:
        try:
            return await asyncio.wait_for(self.reader.read(), 10) == b""
        except ConnectionResetError:
            return True

    async def leave(self) -> None:
        """Vanish without a goodbye, as a killed process does."""
        self.writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def connect(air: Air) -> AsyncIterator[RawHost]:
    _, address, port = air.transports["jack"].split(":")
    host = RawHost(*await asyncio.open_connection(address, int(port)))
    try:
        yield host
    finally:
        await host.leave()


async def idle(air: Air) -> None:
    """Wait until the controller is in its initial state."""
    async with asyncio.timeout(10):
        # A controller has no event to wait for.
        while air.controller("jack").random_address != hci.Address.ANY_RANDOM:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_commands_are_answered(air: Air) -> None:
    async with connect(air) as host:
        assert await host.exchange(RESET) == RESET_ANSWER


async def test_a_host_that_dies_leaves_a_fresh_controller(air: Air) -> None:
    async with connect(air) as host:
        await host.exchange(bytes(ADDRESS))
        assert air.controller("jack").random_address == ADDRESS.random_address
    await idle(air)


async def test_a_packet_cut_short_does_not_spoil_the_port_for_the_next_host(air: Air) -> None:
    async with connect(air) as host:
        await host.exchange(bytes(ADDRESS))
        host.writer.write(bytes(ADDRESS)[:7])
        await host.writer.drain()
    await idle(air)
    async with connect(air) as host:
        assert await host.exchange(RESET) == RESET_ANSWER


async def test_a_second_host_takes_over(air: Air, caplog: pytest.LogCaptureFixture) -> None:
    async with connect(air) as first:
        await first.exchange(bytes(ADDRESS))
        with caplog.at_level(logging.WARNING):
            async with connect(air) as second:
                assert await second.exchange(RESET) == RESET_ANSWER
                assert await first.closed_by_peer()
                assert await second.exchange(RESET) == RESET_ANSWER
    assert "took over" in caplog.text


async def test_bytes_that_are_not_hci_cut_off_the_host_alone(air: Air) -> None:
    async with connect(air) as host:
        host.writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await host.closed_by_peer()
    async with connect(air) as host:
        assert await host.exchange(RESET) == RESET_ANSWER


async def test_an_unknown_command_is_answered_as_such(air: Air) -> None:
    async with connect(air) as host:
        status = await host.exchange(bytes.fromhex("01fffc00"))
        assert status == bytes.fromhex("040f040101fffc")
        assert await host.exchange(RESET) == RESET_ANSWER


async def test_a_host_that_does_not_read_fills_no_memory(
    air: Air, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hci_port, "UNREAD_LIMIT_BYTES", 1000)
    async with connect(air) as host:
        await host.exchange(RESET)
        port = air.controller("jack").host
        assert isinstance(port, hci_port.HciPort)
        for _ in range(100_000):  # without a turn of the loop, so that nobody reads
            port.on_packet(bytes(260))
        assert 0 < port.unread_bytes <= 1000 + 260


async def test_a_taken_port_is_an_error(air: Air) -> None:
    taken = int(air.transports["jack"].rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        await hci_port.HciPort(air.controller("jack")).open(taken)


async def test_an_unplugged_controller_cuts_its_host_off_and_takes_none(air: Air) -> None:
    async with connect(air) as before:
        assert await before.exchange(RESET) == RESET_ANSWER
        air.perform(Unplug(unplug="jack"))
        assert await before.closed_by_peer()
    async with connect(air) as refused:
        assert await refused.closed_by_peer()
    air.perform(Plug(plug="jack"))
    async with connect(air) as after:
        assert await after.exchange(RESET) == RESET_ANSWER

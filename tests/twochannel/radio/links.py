"""What the tests of links do with radios of either backend: invite, connect, send, wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import pytest

from twochannel.radio.port import Broadcast, Link, LinkError, Radio, Sighting

INVITATION: Final = Broadcast(0x7A1E0002_0000_4000_8000_000000000000, b"ten bytes!", 20)
CALL: Final = Broadcast(0x7A1E0003_0000_4000_8000_000000000000, b"called", 20)


async def heard(radio: Radio, broadcast: Broadcast) -> Sighting:
    """The next sighting of a broadcast, whatever else is heard before it."""
    async with asyncio.timeout(30):
        async for sighting in radio.scanner.sightings():
            if sighting.service_data == broadcast.service_data:
                return sighting
    raise AssertionError("the radio was closed")


async def next_link(links: AsyncIterator[Link]) -> Link:
    return await asyncio.wait_for(anext(links), 30)


@contextlib.asynccontextmanager
async def linked(jack: Radio, phone: Radio) -> AsyncIterator[tuple[Link, Link]]:
    """The jack's and the phone's end of one link."""
    async with (
        jack.peripheral.inviting(INVITATION) as links,
        phone.central.connected(await heard(phone, INVITATION)) as of_phone,
    ):
        yield await next_link(links), of_phone


async def send_all(link: Link, packets: list[bytes]) -> None:
    for packet in packets:
        await link.send(packet)


async def pump(sender: Link, receiver: Link, packets: list[bytes]) -> None:
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(send_all(sender, packets))
        assert [await receiver.receive() for _ in packets] == packets


def full_packets(link: Link, mark: bytes, count: int = 100) -> list[bytes]:
    """Packets as long as the link takes them, each different."""
    return [(mark + bytes((n,))).ljust(link.packet_limit_bytes, mark) for n in range(count)]


async def both_ways(of_jack: Link, of_phone: Link, count: int = 100) -> None:
    """Carry ``count`` packets of full length in each direction, at once."""
    await asyncio.gather(
        pump(of_jack, of_phone, full_packets(of_jack, b"j", count)),
        pump(of_phone, of_jack, full_packets(of_phone, b"p", count)),
    )


async def ended(link: Link) -> str:
    with pytest.raises(LinkError) as error:
        await asyncio.wait_for(link.receive(), 30)
    with pytest.raises(LinkError):
        await link.send(b"too late")
    return str(error.value)

"""Packets and links on their way to whoever reads them."""

from __future__ import annotations

import asyncio

import pytest

from twochannel.radio.link_inbox import (
    LOST,
    OVERRUN,
    WAITING_PACKETS_LIMIT,
    LinkStream,
    PacketInbox,
    check_packet,
    packet_limit_bytes,
)
from twochannel.radio.port import LinkError, RadioError


class SomeLink:
    """A link that is only told apart from others."""

    packet_limit_bytes = 20

    async def send(self, packet: bytes) -> None:
        raise AssertionError

    async def receive(self) -> bytes:
        raise AssertionError

    async def close(self) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    ("att_mtu", "limit"), [(0, 20), (23, 20), (24, 21), (247, 244), (513, 510), (517, 510)]
)
def test_a_packet_is_an_att_mtu_less_its_header_within_bounds(att_mtu: int, limit: int) -> None:
    assert packet_limit_bytes(att_mtu) == limit
    check_packet(bytes(limit), limit)
    for length in (0, limit + 1):
        with pytest.raises(ValueError, match=f"1 to {limit} bytes, not {length}"):
            check_packet(bytes(length), limit)


async def test_packets_come_out_in_order_and_then_the_reason_of_the_end() -> None:
    inbox = PacketInbox()
    for number in range(3):
        inbox.put(bytes((number,)))
    inbox.end(LOST)
    inbox.end("Another reason.")
    inbox.put(b"too late")
    assert [await inbox.get() for _ in range(3)] == [b"\0", b"\1", b"\2"]
    for _ in range(2):
        with pytest.raises(LinkError, match="was lost"):
            await inbox.get()
    with pytest.raises(LinkError, match="was lost"):
        inbox.check()


async def test_a_waiting_reader_is_woken_by_a_packet_and_by_the_end() -> None:
    inbox = PacketInbox()
    for _ in range(2):
        reading = asyncio.create_task(inbox.get())
        await asyncio.sleep(0)
        assert not reading.done()
        inbox.put(b"packet")
        assert await reading == b"packet"
    reading = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    inbox.end(LOST)
    with pytest.raises(LinkError):
        await reading


async def test_one_packet_too_many_ends_the_link_and_the_others_can_be_read() -> None:
    inbox = PacketInbox()
    for _ in range(WAITING_PACKETS_LIMIT):
        inbox.put(b"packet")
    assert not inbox.ended.done()
    inbox.put(b"one too many")
    assert inbox.ended.result() == OVERRUN
    assert [await inbox.get() for _ in range(WAITING_PACKETS_LIMIT)] == [
        b"packet"
    ] * WAITING_PACKETS_LIMIT
    with pytest.raises(LinkError, match="more than was read"):
        await inbox.get()


async def test_the_newest_link_is_kept_for_the_consumer() -> None:
    stream, links = LinkStream(), [SomeLink() for _ in range(3)]
    stream.put(links[0])
    stream.put(links[1])
    assert await anext(stream) is links[1]
    waiting = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    stream.put(links[2])
    assert await waiting is links[2]
    stream.end()
    assert [link async for link in stream] == []


async def test_a_failure_reaches_whoever_waits_for_a_link() -> None:
    stream = LinkStream()
    waiting = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    stream.end("The radio went away.")
    stream.end()
    with pytest.raises(RadioError, match="went away"):
        await waiting

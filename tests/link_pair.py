"""A link without a radio: two ends in one process, for what both sides say on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from twochannel.radio.port import LEAST_PACKET_LIMIT_BYTES, Broadcast, Link, LinkError, RadioError

#: Ends a queue of packets.
_GONE = b""


@dataclass(eq=False)
class LinkEnd:
    """One end. ``sent``: all packets that left here. ``tamper`` may change or drop (None) them."""

    incoming: asyncio.Queue[bytes]
    outgoing: asyncio.Queue[bytes]
    packet_limit_bytes: int
    sent: list[bytes] = field(default_factory=list)
    tamper: Callable[[bytes], bytes | None] = lambda packet: packet
    closed: bool = False

    async def send(self, packet: bytes) -> None:
        assert 1 <= len(packet) <= self.packet_limit_bytes
        if self.closed:
            raise LinkError("the connection has ended")
        self.sent.append(packet)
        changed = self.tamper(packet)
        if changed is not None:
            self.outgoing.put_nowait(changed)

    async def receive(self) -> bytes:
        packet = _GONE if self.closed else await self.incoming.get()
        if packet == _GONE:
            self.closed = True
            raise LinkError("the connection has ended")
        return packet

    async def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.outgoing.put_nowait(_GONE)


def link_pair(packet_limit_bytes: int = LEAST_PACKET_LIMIT_BYTES) -> tuple[LinkEnd, LinkEnd]:
    """The phone's end and the jack's."""
    down: asyncio.Queue[bytes] = asyncio.Queue()
    up: asyncio.Queue[bytes] = asyncio.Queue()
    return LinkEnd(down, up, packet_limit_bytes), LinkEnd(up, down, packet_limit_bytes)


class NotingLink:
    """A link that notes what is sent on it."""

    def __init__(self, link: Link, sent: list[bytes]) -> None:
        self._link = link
        self._sent = sent

    @property
    def packet_limit_bytes(self) -> int:
        return self._link.packet_limit_bytes

    async def send(self, packet: bytes) -> None:
        self._sent.append(packet)
        await self._link.send(packet)

    async def receive(self) -> bytes:
        return await self._link.receive()

    async def close(self) -> None:
        await self._link.close()


class Porch:
    """A peripheral without a radio: ``visit`` is what a central would do.

    It refuses to invite ``refusals`` times, and takes ``slowness_s`` to begin.
    """

    def __init__(self) -> None:
        self.invitation: Broadcast | None = None
        self.refusals = 0
        self.slowness_s = 0.0
        self.changed = asyncio.Event()
        self._links: asyncio.Queue[Link] = asyncio.Queue()

    @asynccontextmanager
    async def inviting(self, invitation: Broadcast) -> AsyncIterator[AsyncIterator[Link]]:
        if self.refusals:
            self.refusals -= 1
            raise RadioError("the adapter refuses")
        await asyncio.sleep(self.slowness_s)
        self._links = asyncio.Queue()
        self._show(invitation)
        try:
            yield self._arriving(self._links)
        finally:
            self._show(None)

    async def _arriving(self, links: asyncio.Queue[Link]) -> AsyncIterator[Link]:
        while True:
            yield await links.get()

    def _show(self, invitation: Broadcast | None) -> None:
        self.invitation = invitation
        self.changed.set()

    def visit(self) -> LinkEnd:
        """The phone's end of a connection to whoever invites now."""
        assert self.invitation is not None
        phone, jack = link_pair()
        self._links.put_nowait(jack)
        return phone

    async def until(self, invites: bool) -> None:
        """Wait until it invites, or no longer does."""
        async with asyncio.timeout(10):
            while (self.invitation is not None) is not invites:
                self.changed.clear()
                await self.changed.wait()

"""What both radio backends need of a link: packets that wait to be read, and links to be taken."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from twochannel.radio.port import LEAST_PACKET_LIMIT_BYTES, Link, LinkError, RadioError

#: At most 128 KB. Whoever sends on while nobody reads is hung up on: a pipe with a gap is none.
WAITING_PACKETS_LIMIT: Final = 256
#: An attribute's value has 512 at most (Core spec, Vol 3 Part F section 3.2.9), but bluetoothd 5.66
#: takes no write of more than 510.
MOST_PACKET_LIMIT_BYTES: Final = 510
ATT_HEADER_BYTES: Final = 3
#: The port's promise. bluetoothd lets nobody write before it has discovered every service of the
#: other side, which takes seconds on a slow machine.
CONNECT_TIMEOUT_S: Final = 10.0

NOT_MADE: Final = "Nobody took the connection: the other side has left, or stopped inviting."
NO_SERVICE: Final = "What took the connection has no link service: it is no jack."

HUNG_UP: Final = "The link was closed on this side."
OVERRUN: Final = "The other side sent more than was read."
ENDED: Final = "The other side has ended the connection."
GONE: Final = "The connection has ended: the other side hung up, or is no longer in range."
RADIO_LOST: Final = "The connection was lost: this side's radio has gone."
LOST: Final = "The connection was lost: the other side is out of range, or was switched off."


def packet_limit_bytes(att_mtu: int) -> int:
    """What ``port.Link.packet_limit_bytes`` is for an ATT_MTU."""
    room = att_mtu - ATT_HEADER_BYTES
    return max(LEAST_PACKET_LIMIT_BYTES, min(MOST_PACKET_LIMIT_BYTES, room))


def check_packet(packet: bytes, limit_bytes: int) -> None:
    """Raises ValueError unless a link with that limit takes the packet."""
    if not 1 <= len(packet) <= limit_bytes:
        raise ValueError(f"a packet of this link has 1 to {limit_bytes} bytes, not {len(packet)}")


class PacketInbox:
    """Packets in the order they came, until the link ends."""

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()
        self._changed = asyncio.Event()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def put(self, packet: bytes) -> None:
        """Take a packet in; one too many ends the link. An empty one is none: no link sends it."""
        if self.ended.done() or not packet:
            return
        if len(self._waiting) >= WAITING_PACKETS_LIMIT:
            self.end(OVERRUN)
            return
        self._waiting.append(packet)
        self._changed.set()

    def end(self, reason: str) -> None:
        """The link is over. What has come before may still be read."""
        if not self.ended.done():
            self.ended.set_result(reason)
            self._changed.set()

    def check(self) -> None:
        """Raises LinkError once the link is over."""
        if self.ended.done():
            raise LinkError(self.ended.result())

    async def get(self) -> bytes:
        """The next packet. Raises LinkError after the last."""
        while not self._waiting:
            self.check()
            self._changed.clear()
            await self._changed.wait()
        return self._waiting.popleft()


class LinkStream:
    """Links for the one consumer of an invitation; holds the newest, as older ones have ended."""

    def __init__(self) -> None:
        self._waiting: Link | None = None
        self._ended = False
        self._failure: str | None = None
        self._changed = asyncio.Event()

    def put(self, link: Link) -> None:
        """Offer a link in place of one that was not taken."""
        self._waiting = link
        self._changed.set()

    def end(self, failure: str | None = None) -> None:
        """No more will come; the consumer gets RadioError(failure) if there is one."""
        if not self._ended:
            self._ended, self._failure = True, failure
            self._changed.set()

    def __aiter__(self) -> LinkStream:
        return self

    async def __anext__(self) -> Link:
        while self._waiting is None:
            if self._failure is not None:
                raise RadioError(self._failure)
            if self._ended:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        link, self._waiting = self._waiting, None
        return link

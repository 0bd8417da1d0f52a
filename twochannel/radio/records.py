"""Records over a link: both ends of it cut and put together what ``protocol.link`` says."""

from __future__ import annotations

from collections import deque

from twochannel.protocol.limits import MAX_RECORD_BYTES
from twochannel.protocol.link import Reassembler, packets
from twochannel.radio.port import Link


class Records:
    """The records of one link, in order. Not for two tasks at once."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._reassembler = Reassembler(MAX_RECORD_BYTES)
        self._whole: deque[bytes] = deque()

    async def send(self, body: bytes) -> None:
        """Raises LinkError."""
        for packet in packets(body, self._link.packet_limit_bytes):
            await self._link.send(packet)

    async def receive(self, limit_bytes: int = MAX_RECORD_BYTES) -> bytes:
        """The body of the next record, of at most ``limit_bytes``.

        Raises LinkError, and SessionError for what is no record.
        """
        self._reassembler.limit_bytes = limit_bytes
        while not self._whole:
            self._whole += self._reassembler.take(await self._link.receive())
        return self._whole.popleft()

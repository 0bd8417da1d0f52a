"""The jack's ear: it always scans, and tells the chip which lane it hears."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from cigarjack.lane_memory import LaneMemory
from twochannel.advert_recording import AdvertRecording, to_microseconds
from twochannel.protocol.errors import FrameError
from twochannel.protocol.lane import SERVICE_UUID, LaneFrame
from twochannel.protocol.limits import PRESENCE_WAIT_S
from twochannel.radio.port import RadioError, Scanner, Sighting
from twochannel.trace import Trace

#: Forged frames must not fill the disk by way of the trace.
_TRACED_PER_SECOND: Final = 10
_SHOWN_DIGITS: Final = 8


class LaneEar:
    """Hears lane frames. ``adverts_heard``: of any kind; ``frames_refused``: not lane frames."""

    def __init__(self, trace: Trace, recording: AdvertRecording | None = None) -> None:
        """``recording``: keeps every lane frame."""
        self._trace = trace
        self._recording = recording
        self._memory = LaneMemory()
        self._waiting: dict[str, set[asyncio.Future[bytes]]] = {}
        self._traced: tuple[int, int] = (0, 0)
        self.adverts_heard = 0
        self.frames_refused = 0

    async def listen(self, scanner: Scanner, *others: Callable[[Sighting], None]) -> None:
        """Take in what ``scanner`` hears, until cancelled. Raises RadioError when it ends.

        A scanner has one consumer: ``others`` are given each advert too.
        """
        async for sighting in scanner.sightings():
            self.take(sighting)
            for take in others:
                take(sighting)
        raise RadioError("the radio has stopped listening")

    def take(self, sighting: Sighting) -> None:
        """One advert; anything but a lane frame is only counted."""
        self.adverts_heard += 1
        if sighting.service_uuid != SERVICE_UUID:
            return
        try:
            nonce = LaneFrame.decode(sighting.service_data).nonce
        except FrameError:
            self.frames_refused += 1
            return
        if self._recording is not None:
            self._recording.take(*to_microseconds(sighting))
        digest = self._memory.remember(nonce, time.monotonic())
        if digest is not None:
            self._announce(digest, nonce, sighting.rssi_dbm)

    async def hear(self, lane_digest: str, wait_s: float = PRESENCE_WAIT_S) -> bytes | None:
        """The 12-byte nonce with this digest, or None if it is not heard within ``wait_s``."""
        known = self._memory.find(lane_digest, time.monotonic())
        if known is not None:
            return known
        heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(lane_digest, set())
        waiting.add(heard)
        try:
            async with asyncio.timeout(wait_s):
                return await heard
        except TimeoutError:
            return None
        finally:
            waiting.discard(heard)
            if not waiting:
                self._waiting.pop(lane_digest, None)

    def _announce(self, digest: str, nonce: bytes, rssi_dbm: int) -> None:
        for heard in self._waiting.pop(digest, ()):
            if not heard.done():
                heard.set_result(nonce)
        second, count = int(time.monotonic()), 0
        if self._traced[0] == second:
            count = self._traced[1]
        self._traced = (second, count + 1)
        if count < _TRACED_PER_SECOND:
            self._trace.event("lane_heard", lane=digest[:_SHOWN_DIGITS], rssi_dbm=rssi_dbm)

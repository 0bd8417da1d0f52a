"""A radio of nobody's that says what was on the air: a witness independent of every agent."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Final, Self

from twochannel.protocol import beacon
from twochannel.protocol.errors import FrameError
from twochannel.radio.backends import open_radio
from twochannel.radio.port import Broadcast, RadioError

_NS_PER_S: Final = 1_000_000_000
#: What devices of passers-by say. A scanner that hears nobody at all takes itself for deaf.
SOMEBODY: Final = Broadcast(0xFFF0, bytes(4), interval_ms=1000)


@dataclass(frozen=True, slots=True)
class HeardCode:
    """A beacon on the air. ``handle``: the first 4 hex digits of its code."""

    handle: str
    heard_ns: int


class Sniffer:
    """``async with`` it: from then on every beacon frame that reaches ``radio`` is noted."""

    def __init__(self, radio: str) -> None:
        self.codes: list[HeardCode] = []
        self._radio = open_radio(radio)
        self._noting: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._radio.__aenter__()
        self._noting = asyncio.create_task(self._note(), name="sniffer")
        return self

    async def __aexit__(self, *failure: object) -> None:
        if self._noting is not None:
            self._noting.cancel()
            with contextlib.suppress(asyncio.CancelledError, RadioError):
                await self._noting
        await self._radio.__aexit__(*failure)

    async def pass_by(self) -> None:
        """Be heard as well from now on, as SOMEBODY. Raises RadioError."""
        await self._radio.advertiser.broadcast(SOMEBODY)

    async def first_code(self, after_ns: int, deadline_s: float) -> HeardCode:
        """The first beacon heard at or after ``after_ns``. Raises TimeoutError."""
        async with asyncio.timeout(deadline_s):
            while True:
                for code in self.codes:
                    if code.heard_ns >= after_ns:
                        return code
                self._changed.clear()
                await self._changed.wait()

    async def _note(self) -> None:
        async for sighting in self._radio.scanner.sightings():
            if sighting.service_uuid != beacon.SERVICE_UUID:
                continue
            try:
                frame = beacon.BeaconFrame.decode(sighting.service_data)
            except FrameError:
                continue
            heard_ns = int(sighting.heard_at_s * _NS_PER_S)
            self.codes.append(HeardCode(frame.code.hex()[:4], heard_ns))
            self._changed.set()

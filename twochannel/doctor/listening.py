"""Measures a radio: listens for a while, and sends one broadcast of its own."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from typing import Final

from twochannel.doctor.findings import Refused
from twochannel.doctor.radio_rules import refused
from twochannel.doctor.readings import Broadcasting, Listening
from twochannel.radio.backends import open_radio
from twochannel.radio.port import Broadcast, Radio, RadioError

LISTEN_S: Final = 10.0
BROADCAST_S: Final = 4.0
#: Adverts closer than this count as one; no gap that matters is near it.
_LOOK_EVERY_S: Final = 0.02
#: The doctor's own, random version 4: no agent takes it for anything.
PROBE_UUID: Final = 0x9F3B2A77_60C4_4F0E_8D5A_1C7E4B90A2D6
_PROBE_BYTES: Final = 8


async def listen(radio: Radio, seconds: float = LISTEN_S) -> Listening:
    """Everything that ``radio`` hears in that time. Raises RadioError."""
    began_s = time.monotonic()
    levels: list[tuple[str, int]] = []
    heard_at_s: list[float] = []

    async def take_levels() -> None:
        async for sighting in radio.scanner.sightings():
            levels.append((sighting.address, sighting.rssi_dbm))

    async def look() -> None:
        while True:
            last_s = radio.scanner.last_heard_at_s
            if last_s is not None and last_s > began_s + (heard_at_s or [0.0])[-1]:
                heard_at_s.append(last_s - began_s)
            await asyncio.sleep(_LOOK_EVERY_S)

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.gather(take_levels(), look())
    took_s = time.monotonic() - began_s
    return Listening(took_s, tuple(at for at in heard_at_s if at <= took_s), tuple(levels))


async def broadcast(
    radio: Radio, interval_ms: int, witness: str | None, seconds: float = BROADCAST_S
) -> Broadcasting | Refused:
    """Send a probe, and take it off the air again. ``witness``: a radio that may hear it."""
    probe = Broadcast(PROBE_UUID, secrets.token_bytes(_PROBE_BYTES), interval_ms)
    try:
        if witness is None:
            await radio.advertiser.broadcast(probe)
            await radio.advertiser.silence()
            return Broadcasting(None)
        return await _witnessed(radio, probe, witness, seconds)
    except RadioError as error:
        return refused(str(error))


async def _witnessed(radio: Radio, probe: Broadcast, witness: str, seconds: float) -> Broadcasting:
    heard_at_s: list[float] = []
    async with open_radio(witness) as listener:
        sightings = listener.scanner.sightings()
        await radio.advertiser.broadcast(probe)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    async for sighting in sightings:
                        if sighting.service_data == probe.service_data:
                            heard_at_s.append(sighting.heard_at_s)
        finally:
            await radio.advertiser.silence()
    return Broadcasting(tuple(heard_at_s))

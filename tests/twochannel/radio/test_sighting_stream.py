"""The queue between a radio and its consumer."""

from __future__ import annotations

import asyncio

import pytest

from twochannel.radio.port import RadioError, Sighting
from twochannel.radio.sighting_stream import WAITING_SIGHTINGS_LIMIT, SightingStream


def sighting(number: int) -> Sighting:
    return Sighting("00:00:00:00:00:01", 0xFEAA, number.to_bytes(4), -60, number / 10)


async def drain(stream: SightingStream) -> list[Sighting]:
    return [sighting async for sighting in stream]


async def test_sightings_come_out_in_order() -> None:
    stream = SightingStream()
    dropped = [stream.put(sighting(number)) for number in range(5)]
    stream.end()
    assert await drain(stream) == [sighting(number) for number in range(5)]
    assert dropped == [0] * 5


async def test_the_oldest_are_dropped_when_too_many_wait() -> None:
    stream = SightingStream()
    extra = 10
    dropped = sum(stream.put(sighting(n)) for n in range(WAITING_SIGHTINGS_LIMIT + extra))
    stream.end()
    kept = await drain(stream)
    assert dropped == extra
    assert len(kept) == WAITING_SIGHTINGS_LIMIT
    assert kept[0] == sighting(extra)


async def test_a_waiting_consumer_is_woken_by_a_sighting_and_by_the_end() -> None:
    stream = SightingStream()
    waiting = asyncio.create_task(drain(stream))
    await asyncio.sleep(0)
    stream.put(sighting(1))
    await asyncio.sleep(0)
    stream.end()
    assert await asyncio.wait_for(waiting, 10) == [sighting(1)]


async def test_a_failure_is_raised_after_what_still_waits_and_again_when_asked_again() -> None:
    stream = SightingStream()
    stream.put(sighting(1))
    stream.end("it is gone")
    stream.end()  # a later quiet end does not hide the failure
    assert await anext(stream) == sighting(1)
    for _ in range(2):
        with pytest.raises(RadioError, match="it is gone"):
            await anext(stream)


async def test_a_cancelled_consumer_loses_nothing() -> None:
    stream = SightingStream()
    waiting = asyncio.create_task(drain(stream))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    stream.put(sighting(1))
    assert await anext(stream) == sighting(1)

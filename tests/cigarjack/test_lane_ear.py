"""The ear: which lane is heard, at once or while somebody waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from cigarjack.lane_ear import LaneEar
from tests.cigarjack.parties import LANE_NONCE, silent_trace
from twochannel.advert_recording import FILE_NAME, AdvertRecording
from twochannel.protocol import beacon
from twochannel.protocol.lane import SERVICE_UUID, LaneFrame, lane_digest
from twochannel.radio.btsnoop import decode
from twochannel.radio.port import RadioError, Sighting
from twochannel.ring import USUAL
from twochannel.trace import Trace

DIGEST = lane_digest(LANE_NONCE)


def sighting(data: bytes, service: int = SERVICE_UUID) -> Sighting:
    return Sighting("AA:00:00:00:00:01", service, data, -50, 0.0)


def frame(nonce: bytes = LANE_NONCE) -> Sighting:
    return sighting(LaneFrame(nonce).encode())


async def test_what_was_heard_before_is_told_at_once() -> None:
    ear = LaneEar(silent_trace())
    ear.take(frame())
    assert await ear.hear(DIGEST, wait_s=0) == LANE_NONCE


async def test_all_who_wait_are_told_the_moment_it_is_heard() -> None:
    ear = LaneEar(silent_trace())
    waiting = [asyncio.create_task(ear.hear(DIGEST, wait_s=30)) for _ in range(2)]
    impatient = asyncio.create_task(ear.hear(DIGEST, wait_s=30))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.sleep(0)
    ear.take(frame(b"another lane"))
    ear.take(frame())
    async with asyncio.timeout(5):
        assert await asyncio.gather(*waiting) == [LANE_NONCE, LANE_NONCE]


async def test_the_wait_ends() -> None:
    ear = LaneEar(silent_trace())
    assert await ear.hear(DIGEST, wait_s=0.01) is None
    ear.take(frame())
    assert await ear.hear(DIGEST, wait_s=0.01) == LANE_NONCE


async def test_other_adverts_are_counted_and_nothing_else() -> None:
    ear = LaneEar(silent_trace())
    ear.take(sighting(b"\x30" + bytes(9), beacon.SERVICE_UUID))
    ear.take(sighting(b""))
    ear.take(sighting(b"\xff" + LANE_NONCE))
    ear.take(frame())
    assert (ear.adverts_heard, ear.frames_refused) == (4, 2)


def test_each_nonce_is_traced_once_and_a_flood_only_in_part(tmp_path: Path) -> None:
    with Trace("jack", tmp_path / "trace", boot="boot") as trace:
        ear = LaneEar(trace)
        for number in range(2000):
            ear.take(frame(number.to_bytes(12)))
            ear.take(frame(number.to_bytes(12)))
    lines = [json.loads(line) for line in (tmp_path / "trace").read_text().splitlines()]
    assert len({line["lane"] for line in lines}) == len(lines)
    assert 10 <= len(lines) < 200
    assert {line["event"] for line in lines} == {"lane_heard"}


def test_every_lane_frame_is_recorded_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    with closing(AdvertRecording(path, USUAL)) as recording:
        ear = LaneEar(silent_trace(), recording)
        for heard in (
            frame(),
            sighting(b"short"),
            sighting(bytes(9), beacon.SERVICE_UUID),
            frame(),
        ):
            ear.take(heard)
    kept = list(decode(path.read_bytes()))
    assert [record.service_data for record in kept] == [LaneFrame(LANE_NONCE).encode()] * 2
    assert {record.service_uuid for record in kept} == {SERVICE_UUID}
    assert path.stat().st_mode & 0o777 == 0o600


class ShortScanner:
    """A radio that ends after one advert."""

    lost = 0
    last_heard_at_s: float | None = None

    async def sightings(self) -> AsyncIterator[Sighting]:
        yield frame()


async def test_a_radio_that_ends_is_an_error() -> None:
    ear = LaneEar(silent_trace())
    with pytest.raises(RadioError):
        await ear.listen(ShortScanner())
    assert ear.adverts_heard == 1

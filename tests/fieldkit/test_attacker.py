"""The thief and the witness, on a real virtual air; the thief as a process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fieldkit.air import Air, AirPlan
from fieldkit.process import Process, StageError
from fieldkit.sniffer import Sniffer
from twochannel.protocol import beacon
from twochannel.radio.backends import open_radio
from twochannel.radio.port import Broadcast

DEADLINE_S = 10.0
# The car and the thief's ear in one place; the thief's mouth and a sniffer beyond all radio.
PLAN = AirPlan.model_validate(
    {
        "controllers": [
            {"name": "jack", "x": 0},
            {"name": "ear", "x": 2},
            {"name": "mouth", "x": 2000},
            {"name": "sniffer", "x": 2002},
        ]
    }
)


@pytest.fixture
async def radios() -> AsyncIterator[dict[str, str]]:
    async with Air(PLAN) as air:
        yield {name: f"bumble:{transport}" for name, transport in air.transports.items()}


def code(text: str) -> Broadcast:
    frame = beacon.BeaconFrame(-18, bytes.fromhex(text))
    return Broadcast(beacon.SERVICE_UUID, frame.encode(), 100)


def thief(radios: dict[str, str], tmp_path: Path) -> Process:
    arguments = ["-m", "fieldkit.attacker", "--ear", radios["ear"], "--mouth", radios["mouth"]]
    return Process("thief", arguments, tmp_path / "thief.log")


async def test_what_is_sent_here_is_heard_there(radios: dict[str, str], tmp_path: Path) -> None:
    stealing = thief(radios, tmp_path)
    async with open_radio(radios["jack"]) as jack, Sniffer(radios["sniffer"]) as sniffer:
        not_a_code = Broadcast(beacon.SERVICE_UUID, b"\x10\x00url", 100)
        await jack.advertiser.broadcast(not_a_code)
        starting = asyncio.create_task(stealing.start())
        await jack.advertiser.broadcast(code("1111000000000000"))
        assert await starting == {"event": "ready"}
        first = await sniffer.first_code(0, DEADLINE_S)
        await jack.advertiser.broadcast(code("2222000000000000"))
        async with asyncio.timeout(DEADLINE_S):
            while (heard := await sniffer.first_code(time.monotonic_ns(), DEADLINE_S)) == first:
                pass
            while heard.handle != "2222":
                heard = await sniffer.first_code(time.monotonic_ns(), DEADLINE_S)
        assert await stealing.stop() == 0
    assert first.handle == "1111"
    assert {seen.handle for seen in sniffer.codes} == {"1111", "2222"}


async def test_a_witness_far_away_hears_nothing(radios: dict[str, str]) -> None:
    async with open_radio(radios["jack"]) as jack, Sniffer(radios["sniffer"]) as far:
        await jack.advertiser.broadcast(code("1111000000000000"))
        async with Sniffer(radios["ear"]) as near:
            await near.first_code(0, DEADLINE_S)
        with pytest.raises(TimeoutError):
            await far.first_code(0, 0.05)
    assert far.codes == []


async def test_a_thief_without_radio_says_so(tmp_path: Path) -> None:
    stealing = thief({"ear": "nonsense:", "mouth": "nonsense:"}, tmp_path)
    with pytest.raises(StageError) as failed:
        await stealing.start()
    assert "No backend serves" in "\n".join(failed.value.log)

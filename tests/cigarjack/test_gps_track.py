"""The jack's track, from a real gpsd."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from cigarjack.gps_track import GpsTrack, tracking
from tests.cigarjack.running_jack import Bench
from tests.gpsd import Receiver, a_receiver
from tests.ports import free_port
from twochannel.trace import Trace

DEADLINE_S = 20.0


class Noted:
    """What a track has put into a trace."""

    def __init__(self, folder: Path) -> None:
        self.trace = Trace("jack", folder / "trace.jsonl", boot="b")
        self._file = folder / "trace.jsonl"

    def places(self) -> list[dict[str, Any]]:
        lines = map(json.loads, self._file.read_text(encoding="utf-8").splitlines())
        return [line for line in lines if line["event"] == "position"]


@pytest.fixture
def noted(tmp_path: Path) -> Noted:
    return Noted(tmp_path)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with a_receiver() as found:
        yield found


async def until(holds: Callable[[], bool], meanwhile: Callable[[], None] = lambda: None) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            meanwhile()
            await asyncio.sleep(0.05)


async def test_a_drive_becomes_a_track(noted: Noted, receiver: Receiver) -> None:
    second = iter(range(3000))

    def drive() -> None:
        now = next(second)
        receiver.say(now, 7.1 + now * 0.001, 5.0)

    async with tracking(receiver.address, noted.trace):
        await until(lambda: len(noted.places()) >= 5, drive)
    first, *_, last = noted.places()
    assert first["lat_deg"] == pytest.approx(50 + 7.1 / 60, abs=0.05)
    assert first["lon_deg"] == pytest.approx(8 + 40 / 60, abs=1e-6)
    assert last["lat_deg"] > first["lat_deg"]
    assert last["speed_mps"] == pytest.approx(5.0, abs=0.1)
    assert last["heading_deg"] == 90.0
    assert last["fix"] == "3d"
    assert last["accuracy_m"] > 0


async def test_a_gpsd_that_ends_and_comes_back_is_followed_on(
    noted: Noted, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    second = iter(range(3000))
    drive = lambda: receiver.say(next(second), 7.1, 5.0)  # noqa: E731
    with caplog.at_level(logging.INFO, "cigarjack.gps_track"):
        track = GpsTrack(receiver.address, noted.trace, retry_s=0.05)
        task = asyncio.create_task(track.follow())
        await until(lambda: bool(noted.places()), drive)
        await receiver.stop()
        await until(lambda: "gpsd_missing" in caplog.messages)
        before = len(noted.places())
        await receiver.start()
        await until(lambda: len(noted.places()) > before, drive)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert caplog.messages == ["gpsd_found", "gpsd_missing", "gpsd_found"]


async def test_somebody_else_on_that_port_is_told_apart(
    noted: Noted, caplog: pytest.LogCaptureFixture
) -> None:
    tried = 0

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tried
        tried += 1
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    port = free_port()
    async with await asyncio.start_server(greet, "127.0.0.1", port):
        task = asyncio.create_task(
            GpsTrack(f"127.0.0.1:{port}", noted.trace, retry_s=0.01).follow()
        )
        await until(lambda: tried >= 3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    told = [vars(record)["reason"] for record in caplog.records if record.message == "gpsd_missing"]
    assert told == ["who answers there is no gpsd"]


async def test_a_running_jack_notes_its_places(bench: Bench, receiver: Receiver) -> None:
    code, _ = await bench.answer("init")
    assert code == 0
    await bench.run(gpsd=receiver.address)
    second = iter(range(3000))
    await until(lambda: bool(bench.trace("position")), lambda: receiver.say(next(second), 7.1, 5.0))
    assert await bench.running[0].stop() == 0
    begun = [entry["file"] for entry in bench.trace("recording_begun")]
    assert begun == ["adverts"]

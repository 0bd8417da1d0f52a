"""A radio that is lost and comes back, on a real socket to a virtual controller."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fieldkit.air import Air, AirPlan, ControllerPlan
from twochannel.condition.radio import RadioCondition
from twochannel.radio.backends import open_radio
from twochannel.radio.bumble import BumbleRadio
from twochannel.radio.port import Broadcast, Equipment, Health, Radio
from twochannel.radio.watch import RadioWatch, keep_log
from twochannel.trace import Trace

PLAN = AirPlan(controllers=(ControllerPlan(name="jack"), ControllerPlan(name="lane", x=1)))


@pytest.fixture
def trace(tmp_path: Path) -> Iterator[Trace]:
    with Trace("jack", tmp_path / "trace.jsonl", boot="b") as opened:
        yield opened


def noted(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "trace.jsonl").read_text().splitlines()]


async def test_a_radio_that_goes_and_comes_back_is_noted(trace: Trace, tmp_path: Path) -> None:
    heard = asyncio.Event()
    lines: asyncio.Queue[str] = asyncio.Queue()
    trace.listen(lambda line: lines.put_nowait(str(line["event"])))

    async def listen(radio: Radio) -> None:
        async for sighting in radio.scanner.sightings():
            condition.take(sighting)
            heard.set()

    async with Air(PLAN) as air:
        name = f"bumble:{air.transports['jack']}"
        condition = RadioCondition(trace, name)
        watch = RadioWatch(lambda: open_radio(name), listen, condition)
        task = asyncio.create_task(watch.run())
        async with asyncio.timeout(10), open_radio(f"bumble:{air.transports['lane']}") as lane:
            await lane.advertiser.broadcast(Broadcast(0xFEAA, b"\x30", 100))
            await heard.wait()
        well = [condition.ok]
    async with asyncio.timeout(10):
        assert await lines.get() == "radio_lost"
    well.append(condition.ok)
    assert well == [True, False]
    port = int(name.rpartition(":")[2])
    again = AirPlan(controllers=(ControllerPlan(name="jack", port=port),))
    async with Air(again), asyncio.timeout(20):
        assert await lines.get() == "radio_recovered"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    lost, back = noted(tmp_path)
    assert lost["radio"] == back["radio"] == name
    assert "disconnected" in lost["reason"]
    assert back["rung"] == "reopened"
    between_ms = (back["mono_ns"] - lost["mono_ns"]) / 1e6
    assert back["blind_ms"] == pytest.approx(between_ms, abs=1000)
    assert condition.hearing.adverts >= 1


class MendingRadio(BumbleRadio):
    """Has as many reports as bluetoothd's, which is not here."""

    told: Callable[[Health], None]

    def report(self, told: Callable[[Health], None]) -> None:
        self.told = told


class BluezLike(BumbleRadio):
    """Knows what it is made of, as one of BlueZ does, which is not here."""

    @property
    def equipment(self) -> Equipment:  # type: ignore[override]  # Bumble's never has one
        return Equipment("hci1", "DC:A6:32:01:02:03", "5.66")


async def test_what_a_radio_is_made_of_is_noted_each_time_it_is_opened(
    trace: Trace, tmp_path: Path
) -> None:
    condition = RadioCondition(trace, "bluez:hci1")
    async with Air(PLAN) as air:
        for kind in (BluezLike, BumbleRadio, BluezLike):
            async with kind("bluez:hci1", air.transports["jack"]) as radio:
                keep_log(radio, condition)
    opened = [line for line in noted(tmp_path) if line["event"] == "radio_opened"]
    assert [(o["radio"], o["adapter"], o["address"], o["bluez"]) for o in opened] == 2 * [
        ("bluez:hci1", "hci1", "DC:A6:32:01:02:03", "5.66")
    ]


async def test_a_radio_that_mends_itself_says_by_what(trace: Trace, tmp_path: Path) -> None:
    condition = RadioCondition(trace, "bluez")
    async with Air(PLAN) as air:
        radio = MendingRadio("bluez", air.transports["jack"])
        async with radio:
            keep_log(radio, condition)
    for health in (
        Health(ok=False, detail="finds no bluetoothd", since_s=0.0),
        Health(ok=False, detail="finds no such adapter", since_s=0.0),
        Health(ok=True, detail="", since_s=0.0, rung="listen"),
        Health(ok=True, detail="", since_s=0.0),
    ):
        radio.told(health)
    assert [(line["event"], line.get("reason"), line.get("rung")) for line in noted(tmp_path)] == [
        ("radio_lost", "finds no bluetoothd", None),
        ("radio_recovered", None, "listen"),
    ]


def test_a_radio_that_was_never_lost_is_nothing_to_note(trace: Trace, tmp_path: Path) -> None:
    condition = RadioCondition(trace, "bluez")
    well = [condition.ok]
    condition.well("reopened")
    assert [*well, condition.ok] == [False, True]
    assert noted(tmp_path) == []

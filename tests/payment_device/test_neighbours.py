"""Lanes that share over the network: processes, sockets, and what becomes of the choice."""

from __future__ import annotations

import asyncio
import socket
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fieldkit.air import Air, AirPlan, ControllerPlan
from payment_device.hearing_message import SiteKey
from payment_device.neighbours import (
    KEY_NAME,
    Neighbours,
    NeighboursError,
    keep_key,
    parse_address,
    read_key,
)
from tests import ports
from tests.payment_device.lane import until
from tests.payment_device.processes import CODE, DEADLINE_S, STILL, Device, jack
from tests.payment_device.scripted_server import ScriptedServer

KEY = SiteKey(bytes(32))


def free_port() -> int:
    return ports.free_port(socket.SOCK_DGRAM)


@asynccontextmanager
async def sharing(
    lane: str, port: int, others: list[int], levels: dict[bytes, float], key: SiteKey = KEY
) -> AsyncIterator[Neighbours]:
    addresses = [("127.0.0.1", other) for other in others]
    neighbours = Neighbours(key, lane, addresses, lambda: levels, lambda: int(time.time() * 1000))
    running = asyncio.create_task(neighbours.run(("127.0.0.1", port)))
    try:
        yield neighbours
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_two_lanes_hear_each_other_and_silence_counts_for_nothing() -> None:
    a, b = free_port(), free_port()
    async with sharing("a", a, [b], {CODE: 12.0}):
        async with sharing("b", b, [a], {CODE: 30.0}) as second:
            await until(lambda: second.lanes() == 1)
            assert second.elsewhere([CODE, bytes(8)], time.monotonic()) == {CODE: 12.0}
        async with sharing("c", free_port(), [a], {}, SiteKey(bytes([1]) * 32)) as stranger:
            assert stranger.lanes() == 0
    async with sharing("b", b, [a], {}) as alone:
        await until(lambda: alone.lanes() == 0)
        assert alone.elsewhere([CODE], time.monotonic()) == {}


async def test_what_is_not_of_this_site_is_counted_and_forgotten() -> None:
    a, b = free_port(), free_port()
    async with (
        sharing("a", a, [b], {CODE: 12.0}) as first,
        sharing("b", b, [a], {CODE: 30.0}, SiteKey(bytes([1]) * 32)),
    ):
        await until(lambda: first.refused >= 2)
        assert first.lanes() == 0


def test_a_key_is_made_once_and_taken_on_elsewhere(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        with pytest.raises(NeighboursError, match="neighbours-key"):
            read_key(folder)
    text = keep_key(here, None)
    assert keep_key(here, None) == text
    assert stat.S_IMODE((here / KEY_NAME).stat().st_mode) == 0o600
    keep_key(there, text)
    assert read_key(here).tag(CODE) == read_key(there).tag(CODE)
    for wrong in ("", "CN1:", text[4:], text[:-1], "CJ1:" + text[4:]):
        with pytest.raises(NeighboursError, match="CN1:"):
            keep_key(there, wrong)


@pytest.mark.parametrize("text", ["", "8474", "lane-2:8474", "10.0.0.1:0", "10.0.0.1:65536", "::1"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="ADDRESS:PORT"):
        parse_address(text)


def test_addresses() -> None:
    assert parse_address("192.168.1.12:8474") == ("192.168.1.12", 8474)
    assert parse_address("[fe80::1]:8474") == ("fe80::1", 8474)


async def test_the_car_of_the_next_lane_is_not_charged_here(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """A car 2 m from lane 1 and 7 m from lane 2, which alone takes it for its own."""
    plan = AirPlan(
        propagation=STILL,
        controllers=(
            ControllerPlan(name="lane-1"),
            ControllerPlan(name="lane-2", x=9),
            ControllerPlan(name="jack", x=2),
        ),
    )
    ports = free_port(), free_port()
    async with Air(plan) as air, jack(air):
        lanes = []
        for number, (mine, other) in enumerate((ports, ports[::-1]), 1):
            settings = {
                "PAYMENT_DEVICE_MIN_RSSI_DBM": "-90",
                "PAYMENT_DEVICE_NEIGHBOURS": f"127.0.0.1:{other}",
                "PAYMENT_DEVICE_NEIGHBOURS_LISTEN": f"127.0.0.1:{mine}",
            }
            radio = f"bumble:{air.transports[f'lane-{number}']}"
            lane = Device(tmp_path / f"lane-{number}", radio, settings)
            await lane.enrol(server)
            lanes.append(lane)
        first, second = lanes
        unready = await first.call("run")
        assert (unready.exit_code, "neighbours-key" in unready.stderr) == (1, True)
        key = (await first.json("neighbours-key"))["key"]
        await second.json("neighbours-key", key)
        async with second.running():
            await comes_to(second, ("chosen", None))
            async with first.running():
                await comes_to(first, ("chosen", None))
                await comes_to(second, ("heard", "at_another_lane"))
                assert (await second.json("status"))["neighbours_heard"] == 1


async def comes_to(lane: Device, expected: tuple[str, str | None]) -> None:
    """The one jack is in this state, for this reason, in three looks one after the other.

    Which others it passes through is left open: a jack settles for half a second, longer than
    three looks take on a quick machine.
    """
    seen: list[tuple[str, str | None]] = []
    try:
        async with asyncio.timeout(DEADLINE_S):
            while seen[-3:] != [expected] * 3:
                told = await lane.json("jacks")
                seen.append(
                    (told["items"][0]["state"] if told["items"] else "none", told["reason"])
                )
    except TimeoutError:
        raise AssertionError(f"{lane.state.name} never came to {expected}: {seen}") from None

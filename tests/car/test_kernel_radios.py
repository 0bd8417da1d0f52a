"""The ground of every test in the car: real bluetoothd, adapters, adverts; they come and go."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from statistics import median

import pytest
import pytest_asyncio

from fieldkit.car.bluetooth import Adapters
from fieldkit.car.daemon import run
from twochannel.radio.backends import open_radio
from twochannel.radio.port import Broadcast, Sighting

pytestmark = pytest.mark.asyncio(loop_scope="module")

EDDYSTONE = 0xFEAA
PLAN = """
seed = 3
[propagation]
shadowing_sd_db = 0
loss_probability = 0
[[controllers]]
name = "jack"
host = "vhci"
[[controllers]]
name = "phone"
host = "vhci"
x = 1
[[controllers]]
name = "lane"
host = "vhci"
x = 3
"""
BEACON = Broadcast(EDDYSTONE, b"\x30\x00" + bytes(8), interval_ms=100)
OTHER = Broadcast(EDDYSTONE, b"\x30\x00" + bytes([7] * 8), interval_ms=500)
SAMPLES = 40
DEADLINE_S = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def adapters(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Adapters]:
    async with Adapters(PLAN, tmp_path_factory.mktemp("bluetooth")) as running:
        yield running


@contextlib.asynccontextmanager
async def jack_and_lane(adapters: Adapters) -> AsyncIterator[AsyncIterator[Sighting]]:
    """The jack broadcasts; what the lane hears of it. Nor is the jack's own air silent."""
    async with (
        open_radio(adapters.radio("jack")) as jack,
        open_radio(adapters.radio("lane")) as lane,
        asyncio.timeout(DEADLINE_S),
    ):
        await lane.advertiser.broadcast(OTHER)
        sightings = lane.scanner.sightings()
        await jack.advertiser.broadcast(BEACON)
        yield (heard async for heard in sightings if heard.service_data == BEACON.service_data)


async def taken(sightings: AsyncIterator[Sighting], count: int) -> list[Sighting]:
    return [await anext(sightings) for _ in range(count)]


async def test_the_real_bluetoothd_has_three_adapters(adapters: Adapters) -> None:
    main_pid = await run("systemctl", "show", "--value", "--property=MainPID", "bluetooth.service")
    command = await run("cat", f"/proc/{int(main_pid)}/cmdline")
    assert command.split("\0")[0] == "/usr/libexec/bluetooth/bluetoothd"
    found = [await adapters.powered(name) for name in ("jack", "phone", "lane")]
    assert len({adapter.name for adapter in found}) == 3


async def test_adverts_arrive_at_their_interval_with_changing_strength(adapters: Adapters) -> None:
    async with jack_and_lane(adapters) as sightings:
        samples = await taken(sightings, SAMPLES)
    gaps_s = [late.heard_at_s - early.heard_at_s for early, late in itertools.pairwise(samples)]
    # 100 ms and the advDelay of up to 10 ms; the emulated host adds its own delays.
    assert 0.08 < median(gaps_s) < 0.2
    assert len({heard.rssi_dbm for heard in samples}) > 5


async def test_distance_is_heard(adapters: Adapters) -> None:
    async with jack_and_lane(adapters) as sightings, adapters.air() as air:
        near = await taken(sightings, SAMPLES)
        await air.move("jack", 33, 0)
        await taken(sightings, 5)  # those that were on their way
        far = await taken(sightings, SAMPLES)
        await air.move("jack", 0, 0)
    lost_db = median(one.rssi_dbm for one in near) - median(one.rssi_dbm for one in far)
    # From 3 m to 30 m: 20 dB by the law of the air.
    assert 14 < lost_db < 26


async def test_a_controller_that_is_plugged_in_again_is_another_hci(adapters: Adapters) -> None:
    lane, phone = await adapters.powered("lane"), await adapters.powered("phone")
    async with adapters.air() as air:
        await air.unplug("phone")
        await adapters.gone("phone")
        await air.unplug("lane")
        await adapters.gone("lane")
        # The lane now gets the number that the phone had.
        await air.plug("lane")
        lane_again = await adapters.powered("lane")
        await air.plug("phone")
        phone_again = await adapters.powered("phone")
    assert {lane_again.name, phone_again.name} == {lane.name, phone.name}
    assert lane_again.name != lane.name
    assert lane_again.address == lane.address

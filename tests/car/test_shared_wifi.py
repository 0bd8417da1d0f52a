"""Jack and phone in one Wi-Fi that is neither's: strangers in it, and a network that parts them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fieldkit.car.daemon import Daemon, run
from fieldkit.car.machines import HOUSE, JACK, PHONE
from fieldkit.car.streets import Streets
from fieldkit.process import StageError
from fieldkit.stage import Stage
from tests.car import spoofing
from tests.car.streets import jack_is, pay, peopled

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def streets() -> Streets:
    return Streets(house=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(streets: Streets) -> AsyncIterator[Stage]:
    async with peopled(streets) as stage:
        yield stage


async def test_a_payment_in_one_network(stage: Stage) -> None:
    await pay(stage)


async def test_a_spoofed_service_is_tried_and_the_payment_goes_on(
    stage: Stage, streets: Streets, tmp_path: Path
) -> None:
    """A stranger announces the jack's own name, hint and all, at an address of his."""
    line = HOUSE.command(sys.executable, "-m", spoofing.__name__, HOUSE.wifi_address)
    async with Daemon(line, tmp_path / "spoofing.log") as stranger:
        await stranger.said("announced", spoofing.DEADLINE_S)
        await streets.network.leave_wifi(JACK)
        await stranger.said("turned away", spoofing.DEADLINE_S)
        await streets.network.join_wifi(JACK)
        jack = await jack_is(stage, reachable=True)
        assert jack["address"].startswith(f"{JACK.wifi_address}:")
        await pay(stage)


async def test_in_a_network_that_keeps_its_stations_apart_the_code_comes_over_gatt(
    stage: Stage, streets: Streets
) -> None:
    await streets.network.restart_access_point(isolates=True)
    await jack_is(stage, reachable=False)
    with pytest.raises(StageError):
        await run(*PHONE.command("ping", "-c", "1", "-W", "3", JACK.wifi_address))
    await run(*PHONE.command("ping", "-c", "1", "-W", "5", HOUSE.wifi_address))
    assert await pay(stage) == "gatt"
    jack = await jack_is(stage, reachable=False)
    assert jack["path"] == "gatt"
    _, told = await stage.say(stage.cast.phone.name, "status")
    assert "NOT reachable" in told
    assert "last by Bluetooth" in told
    await streets.network.restart_access_point(isolates=False)
    await jack_is(stage, reachable=True)
    assert await pay(stage) == "wifi"

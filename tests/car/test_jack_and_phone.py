"""Jack and phone: over the jack's Wi-Fi, whatever becomes of it meanwhile, and over GATT."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fieldkit.car.daemon import Daemon, run
from fieldkit.car.machines import HOUSE, JACK, LANE, PHONE, Machine
from fieldkit.car.streets import Streets
from fieldkit.process import StageError
from fieldkit.stage import SERVER, Stage
from tests.car import asking, spoofing
from tests.car.streets import (
    captured,
    jack_is,
    out_of_bluetooth,
    pair_over_gatt,
    pay,
    peopled,
    waiting_payment,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def streets() -> Streets:
    return Streets()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(streets: Streets) -> AsyncIterator[Stage]:
    async with peopled(streets) as stage:
        yield stage


@pytest.mark.parametrize(
    ("machine", "elsewhere"), [(JACK, "10.77.0.31"), (PHONE, "10.77.0.32")], ids=["jack", "phone"]
)
async def test_an_address_changes_while_a_payment_waits(
    stage: Stage, streets: Streets, machine: Machine, elsewhere: str
) -> None:
    network = streets.network
    await network.leave_wifi(PHONE)
    await jack_is(stage, reachable=False)
    async with out_of_bluetooth(streets, stage), waiting_payment(stage) as (_, charging):
        await network.readdress(machine, elsewhere)
        await network.join_wifi(PHONE)
        assert await captured(stage, await charging) == "wifi"
    jack = await jack_is(stage, reachable=True)
    if machine is JACK:
        assert jack["address"].startswith(f"{elsewhere}:")
    await network.readdress(machine, machine.wifi_address)
    # At once, before anybody has noticed, it may go either way.
    await pay(stage)
    await jack_is(stage, reachable=True)
    assert await pay(stage) == "wifi"


async def test_the_jacks_interface_goes_and_comes_while_a_payment_waits(
    stage: Stage, streets: Streets
) -> None:
    await streets.network.wifi(JACK).down()
    await jack_is(stage, reachable=False)
    async with out_of_bluetooth(streets, stage), waiting_payment(stage) as (_, charging):
        await streets.network.readdress(JACK, JACK.wifi_address)
        assert await captured(stage, await charging) == "wifi"


async def test_a_jack_with_two_interfaces_is_reached_by_the_one_that_is_shared(
    stage: Stage, streets: Streets
) -> None:
    """The other leads to a network where the phone is not, and sorts before the Wi-Fi."""
    await run("ip", "link", "add", "garage", "type", "veth", "peer", "garage", "netns", LANE.name)
    try:
        await run("ip", "address", "add", "10.70.0.1/24", "dev", "garage")
        await run("ip", "link", "set", "garage", "up")
        # The phone starts anew: it knows nothing but what is announced, and where it was last.
        await stage.processes["phone"].stop()
        await stage.restart("phone")
        jack = await jack_is(stage, reachable=True)
        assert jack["address"].startswith(f"{JACK.wifi_address}:")
        assert await pay(stage) == "wifi"
    finally:
        await run("ip", "link", "delete", "garage")


async def test_paired_over_gatt_the_phone_pays_over_gatt_and_then_over_wifi(
    stage: Stage, streets: Streets
) -> None:
    phone, jack = stage.cast.phone.name, stage.cast.jack.name
    await stage.processes[phone].stop()
    await streets.network.leave_wifi(PHONE)
    began_ns = time.monotonic_ns()
    await pair_over_gatt(stage)
    await stage.seen(jack, "link_served", after_ns=began_ns, where=lambda f: f["mode"] == "pairing")
    await stage.restart(phone)
    assert await pay(stage) == "gatt"
    await streets.network.join_wifi(PHONE)
    await jack_is(stage, reachable=True)
    assert await pay(stage) == "wifi"


async def test_one_challenge_has_one_auth_code_over_gatt_and_over_wifi(stage: Stage) -> None:
    """Signatures are never the same twice: the second is the first, which the jack has kept."""
    phone, jack = stage.cast.phone.name, stage.cast.jack.name
    host, _, port = (await jack_is(stage, reachable=True))["address"].rpartition(":")
    await stage.processes[phone].stop()
    began_ns = time.monotonic_ns()
    states = (str(stage.state(agent)) for agent in (phone, SERVER))
    line = (sys.executable, "-m", asking.__name__, *states, stage.radio(phone), host, port)
    codes = json.loads(await run(*PHONE.command(*line), deadline_s=2 * asking.DEADLINE_S))
    await stage.seen(jack, "link_served", after_ns=began_ns, where=lambda f: f["mode"] == "paired")
    assert codes["gatt"] == codes["wifi"]
    await stage.restart(phone)
    await jack_is(stage, reachable=True)


# --- in a Wi-Fi that is neither's: strangers in it, and a network that parts them


@pytest_asyncio.fixture(loop_scope="module")
async def house(stage: Stage, streets: Streets) -> AsyncIterator[None]:
    """Jack and phone have both joined a house's Wi-Fi."""
    await streets.network.arrange(house=True)
    await jack_is(stage, reachable=True)
    yield
    await streets.network.arrange(house=False)
    await jack_is(stage, reachable=True)


async def test_a_spoofed_service_is_tried_and_the_payment_goes_on(
    stage: Stage, streets: Streets, house: None, tmp_path: Path
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
        assert await pay(stage) == "wifi"


async def test_in_a_network_that_keeps_its_stations_apart_the_code_comes_over_gatt(
    stage: Stage, streets: Streets, house: None
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

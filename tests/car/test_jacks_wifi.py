"""Payments over the jack's own Wi-Fi, whatever becomes of addresses and interfaces meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from fieldkit.car.daemon import run
from fieldkit.car.machines import JACK, LANE, PHONE, Machine
from fieldkit.car.streets import Streets
from fieldkit.stage import Stage
from tests.car.streets import captured, jack_is, pay, peopled, waiting_payment

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
    async with waiting_payment(stage) as (_, charging):
        await network.readdress(machine, elsewhere)
        await network.join_wifi(PHONE)
        await captured(stage, await charging)
    jack = await jack_is(stage, reachable=True)
    if machine is JACK:
        assert jack["address"].startswith(f"{elsewhere}:")
    await network.readdress(machine, machine.wifi_address)
    await pay(stage)


async def test_the_jacks_interface_goes_and_comes_while_a_payment_waits(
    stage: Stage, streets: Streets
) -> None:
    await streets.network.wifi(JACK).down()
    await jack_is(stage, reachable=False)
    async with waiting_payment(stage) as (_, charging):
        await streets.network.readdress(JACK, JACK.wifi_address)
        await captured(stage, await charging)


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
        await pay(stage)
    finally:
        await run("ip", "link", "delete", "garage")

"""The doctor on real Wi-Fi interfaces of the kernel, asked by the real iw."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fieldkit.car.daemon import run
from fieldkit.car.machines import JACK, PHONE, Machine
from fieldkit.car.network import Network
from tests.twochannel.doctor.reports import Ended, doctor

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def network(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    async with Network(tmp_path_factory.mktemp("network")) as running:
        yield running


async def examined(package: str, machine: Machine, state: Path, *arguments: str) -> Ended:
    return await doctor(package, state, "--json", *arguments, before=machine.command())


async def test_band_and_power_save_and_the_cure_that_is_told_helps(
    network: Network, tmp_path: Path
) -> None:
    power_save = ("iw", "dev", network.wifi(PHONE).interface, "set", "power_save")
    await run(*PHONE.command(*power_save, "on"))
    sleepy = (await examined("phone_agent", PHONE, tmp_path, "--quick")).rows
    assert (sleepy["wifi.band"]["state"], sleepy["wifi.band"]["value"]) == ("ok", 2412)
    assert network.wifi(PHONE).interface in sleepy["wifi.band"]["found"]
    assert sleepy["wifi.power_save"]["state"] == "warning"
    cure, _, _ = sleepy["wifi.power_save"]["do"].partition(";")
    await run(*PHONE.command(*shlex.split(cure.removeprefix("sudo "))))
    awake = (await examined("phone_agent", PHONE, tmp_path, "--quick")).rows
    assert (awake["wifi.power_save"]["state"], awake["wifi.power_save"]["value"]) == ("ok", False)


async def test_the_jack_hears_itself_on_its_own_access_point(
    network: Network, tmp_path: Path
) -> None:
    rows = (await examined("cigarjack", JACK, tmp_path, "--radio", "smoke:signals")).rows
    assert rows["network.mdns"]["state"] == "ok"
    assert JACK.wifi_address in rows["network.mdns"]["found"]
    assert (rows["wifi.band"]["state"], rows["wifi.band"]["value"]) == ("ok", 2412)

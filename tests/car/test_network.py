"""Machines of the car: Wi-Fi with WPA3 between jack and phone, and a mobile network beside it.

And what the doctor says of the kernel's Wi-Fi interfaces.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from cigarjack.announcement import Announcement, Notice
from fieldkit.car.daemon import Daemon, run
from fieldkit.car.machines import JACK, LANE, PHONE, SERVER, Machine
from fieldkit.car.network import Network
from fieldkit.process import StageError
from tests.car import finding
from tests.twochannel.doctor.reports import Ended, doctor

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAIRING_PORT = 4711


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def network(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    async with Network(tmp_path_factory.mktemp("network")) as running:
        yield running


async def reaches(machine: Machine, address: str) -> bool:
    try:
        await run(*machine.command("ping", "-c", "1", "-W", "5", address))
    except StageError:
        return False
    return True


async def test_the_phone_joins_the_jacks_wifi_under_wpa3(network: Network) -> None:
    status = await run(*PHONE.command("wpa_cli", "-i", network.wifi(PHONE).interface, "status"))
    assert {"wpa_state=COMPLETED", "key_mgmt=SAE"} <= set(status.splitlines())
    assert await reaches(PHONE, JACK.wifi_address)


@pytest.mark.parametrize("machine", [PHONE, LANE])
async def test_phone_and_lane_reach_the_server(network: Network, machine: Machine) -> None:
    assert await reaches(machine, SERVER.mobile_address)


async def test_a_machine_is_taken_off_the_mobile_network_and_back(network: Network) -> None:
    await network.cut(LANE)
    assert not await reaches(LANE, SERVER.mobile_address)
    assert await reaches(PHONE, SERVER.mobile_address)
    await network.mend(LANE)
    assert await reaches(LANE, SERVER.mobile_address)


@pytest.mark.parametrize("machine", [JACK, LANE])
async def test_the_jack_has_only_its_wifi(network: Network, machine: Machine) -> None:
    elsewhere = SERVER.mobile_address if machine is JACK else JACK.wifi_address
    assert not await reaches(machine, elsewhere)


async def test_the_phone_finds_the_jack_by_mdns(network: Network, tmp_path: Path) -> None:
    browse = PHONE.command(sys.executable, finding.__file__, PHONE.wifi_address)
    async with Daemon(browse, tmp_path / "finding.log") as finder:
        await finder.said("browsing", finding.DEADLINE_S)
        async with Announcement("00112233445566ff", [JACK.wifi_address]) as announcement:
            await announcement.tell(Notice(pairing_port=PAIRING_PORT))
            found = json.loads(await finder.said("[[", finding.DEADLINE_S))
    assert found == [[JACK.wifi_address, PAIRING_PORT]]


# --- what the doctor says of it, asked by the real iw


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

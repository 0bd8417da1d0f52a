"""The doctor on a real kernel with the real bluetoothd: fine, and with each thing wrong."""

from __future__ import annotations

import grp
import os
import shlex
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.car.bluetooth import CarBluetooth, run
from tests.car.radios import beacon
from tests.twochannel.doctor.reports import Ended, doctor
from twochannel.radio.port import Radio

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("restored")]

_MAIN_CONF = Path("/etc/bluetooth/main.conf")
_NOBODY = 65534
#: A car that has not held still after so many examinations is deaf.
_STALLS = 4


async def examined(
    radio: str, state: Path, *arguments: str, agent: str = "cigarjack", **process: Any
) -> Ended:
    """The doctor of an agent, the jack's if none is named, about an adapter."""
    package = agent.replace("-", "_")
    environment = {f"{package.upper()}_RADIO": radio}
    environment |= dict.fromkeys(("CIGARJACK_INTERFACES", "PHONE_AGENT_INTERFACES"), "127.0.0.1")
    return await doctor(package, state, "--json", *arguments, environment=environment, **process)


async def undisturbed(radio: str, state: Path, **process: Any) -> Ended:
    """As ``examined``, once the emulation was not stalled for longer than the doctor bears."""
    for _ in range(_STALLS):
        report = await examined(radio, state, **process)
        radio_rows = [row for name, row in report.rows.items() if name.startswith("radio.")]
        if all(row["state"] != "warning" for row in radio_rows):
            break
    return report


@pytest_asyncio.fixture(loop_scope="module")
async def traffic(witness: Radio) -> AsyncIterator[None]:
    """Somebody who is heard all the time, at a level that fades."""
    await witness.advertiser.broadcast(beacon(30))
    yield
    await witness.advertiser.silence()


@pytest.mark.parametrize("agent", ["cigarjack", "payment-device", "phone-agent"])
async def test_on_a_fine_machine_no_row_of_the_radio_fails(
    car: CarBluetooth, traffic: None, tmp_path: Path, measured: dict[str, Any], agent: str
) -> None:
    report = await undisturbed(car.radio("jack"), tmp_path, agent=agent)
    assert report.report["agent"] == agent
    assert not report.failing(), report
    rows = report.rows
    states = {name: row["state"] for name, row in rows.items() if name.startswith("radio.")}
    assert states.pop("radio.agent") == "not_applicable"
    assert {name for name, state in states.items() if state != "ok"} == set(), report
    assert rows["radio.adapter"]["value"] == car.address("jack")
    assert "BlueZ 5.66" in rows["radio.pair"]["found"]
    assert rows["radio.rssi_step"]["value"] < 8
    assert rows["radio.blind"]["value"] < 2
    assert 80 < rows["radio.interval"]["value"] < 240
    assert "measured" in rows["radio.interval"]["found"]
    assert "hci version" in rows["radio.firmware"]["found"]
    names = ("rssi_step", "blind", "hears", "interval")
    told = {name: rows[f"radio.{name}"]["value"] for name in names}
    measured.setdefault("doctor", {})[agent] = told


async def test_an_ordinary_user_is_told_nearly_as_much(
    car: CarBluetooth, traffic: None, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, _NOBODY, _NOBODY)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    groups = [grp.getgrnam("bluetooth").gr_gid]
    report = await examined(
        car.radio("jack"), state, user=_NOBODY, group=_NOBODY, extra_groups=groups
    )
    assert not report.failing(), report
    assert report.rows["radio.firmware"]["state"] == "unknown"
    assert "debugfs" in report.rows["radio.firmware"]["found"]
    assert report.rows["radio.rssi_step"]["state"] == "ok"


async def test_without_experimental_interfaces_the_cure_that_is_told_helps(
    car: CarBluetooth, traffic: None, tmp_path: Path, measured: dict[str, Any]
) -> None:
    await car.kill_bluetoothd()
    await car.start_bluetoothd(experimental=False)
    await car.present("jack")
    await car.present("terminal")
    report = await examined(car.radio("jack"), tmp_path)
    assert {"radio.experimental", "radio.interval"} <= report.failing()
    assert report.exit_code == 1
    measured["doctor_without_E"] = report.rows["radio.interval"]["found"]

    edit, restart = report.rows["radio.experimental"]["do"].split(" && ")
    assert restart == "sudo systemctl restart bluetooth"
    kept = shutil.copy(_MAIN_CONF, tmp_path / "main.conf")
    try:
        await run(*shlex.split(edit.removeprefix("sudo ")))
        await car.kill_bluetoothd()
        await car.start_bluetoothd(experimental=False)
        await car.present("jack")
        cured = await examined(car.radio("jack"), tmp_path, "--quick")
        assert cured.rows["radio.experimental"]["state"] == "ok"
    finally:
        shutil.copy(kept, _MAIN_CONF)
        await car.kill_bluetoothd()
        await car.start_bluetoothd()


async def test_rfkill_is_told_with_its_cure(car: CarBluetooth, tmp_path: Path) -> None:
    await run("rfkill", "block", "bluetooth")
    report = await examined(car.radio("jack"), tmp_path)
    assert {"radio.rfkill", "radio.opens"} <= report.failing()
    assert report.exit_code == 1
    await run(*shlex.split(report.rows["radio.rfkill"]["do"]))
    cured = await examined(car.radio("jack"), tmp_path, "--quick")
    assert cured.rows["radio.rfkill"]["state"] == "ok"


async def test_a_missing_adapter_is_told_with_those_that_are_there(
    car: CarBluetooth, tmp_path: Path
) -> None:
    async with car.air() as air:
        await air.unplug("jack")
        await car.absent("jack")
    report = await examined(car.radio("jack"), tmp_path)
    assert {"radio.adapter", "radio.opens"} <= report.failing()
    assert car.address("terminal") in report.rows["radio.adapter"]["found"]
    assert report.rows["radio.slots"]["state"] == "unknown"


async def test_without_bluetoothd_it_says_how_to_start_it(
    car: CarBluetooth, tmp_path: Path
) -> None:
    await car.kill_bluetoothd()
    report = await examined(car.radio("jack"), tmp_path, "--quick")
    assert report.failing() == {"radio.service"}
    assert "systemctl start bluetooth" in report.rows["radio.service"]["do"]
    assert report.exit_code == 1

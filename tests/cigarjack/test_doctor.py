"""``cigarjack doctor`` as a process: radio on virtual air, real mDNS on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from cigarjack.cli import main
from cigarjack.clock_rules import ClockState
from cigarjack.config import StateFolder
from cigarjack.memory import Memory
from fieldkit.air import Air, AirPlan, ControllerPlan
from fieldkit.process import Process
from fieldkit.propagation import Propagation
from tests.twochannel.doctor.reports import Ended, doctor
from twochannel.radio.backends import open_radio
from twochannel.radio.port import Broadcast
from twochannel.trace import boot_id

ENVIRONMENT = {"CIGARJACK_INTERFACES": "127.0.0.1"}
FADING = Propagation(shadowing_sd_db=0, fading_sd_db=4, loss_probability=0)


@dataclass(frozen=True)
class Car:
    """A jack's state folder, and its radio on an air where a terminal is heard."""

    state: Path
    radio: str

    async def examined(self, *arguments: str) -> Ended:
        return await doctor(
            "cigarjack",
            self.state,
            *("--json", "--radio", self.radio, *arguments),
            environment=ENVIRONMENT,
        )


@pytest.fixture
async def car(tmp_path: Path) -> AsyncIterator[Car]:
    controllers = (ControllerPlan(name="jack"), ControllerPlan(name="terminal", x=3))
    async with (
        Air(AirPlan(propagation=FADING, controllers=controllers)) as air,
        open_radio(f"bumble:{air.transports['terminal']}") as terminal,
    ):
        await terminal.advertiser.broadcast(Broadcast(0xFEAA, bytes(10), 100))
        yield Car(tmp_path / "jack", f"bumble:{air.transports['jack']}")


@pytest.fixture
def initialised(car: Car) -> Iterator[Memory]:
    assert CliRunner().invoke(main, ["--state", str(car.state), "init"]).exit_code == 0
    with Memory(StateFolder(car.state).memory) as memory:
        yield memory


@asynccontextmanager
async def running(car: Car) -> AsyncIterator[None]:
    arguments = ("-m", "cigarjack", "--state", str(car.state), "run", "--radio", car.radio)
    process = Process("jack", arguments, car.state / "log", ENVIRONMENT)
    await process.start()
    try:
        yield
    finally:
        await process.stop()


async def test_a_fine_jack(car: Car, initialised: Memory) -> None:
    ended = await car.examined()
    assert not ended.failing(), ended.stdout
    rows = ended.rows
    fine = ("radio.opens", "radio.hears", "radio.blind", "radio.rssi_step", "radio.advertises")
    assert {rows[name]["state"] for name in (*fine, "network.mdns")} == {"ok"}
    assert rows["radio.rssi_step"]["value"] < 8
    assert rows["radio.interval"]["value"] == 100
    assert rows["network.mdns"]["found"] == "hears itself at 127.0.0.1"
    # It has not met its phone.
    assert rows["clock.trust"]["state"] == "warning"
    assert "server.reachable" not in rows


async def test_a_running_jack_is_asked(car: Car, initialised: Memory) -> None:
    async with running(car):
        ended = await car.examined()
    assert not ended.failing(), ended.stdout
    assert ended.report["agent_running"]
    assert ended.rows["radio.agent"]["found"].startswith("silent: ")
    assert ended.rows["radio.rssi_step"]["state"] == "unknown"
    assert ended.rows["network.mdns"]["state"] == "ok"
    assert ended.rows["clock.trust"]["state"] == "warning"


async def test_a_running_jack_without_its_radio_fails(car: Car, initialised: Memory) -> None:
    lost = Car(car.state, "bumble:tcp-client:127.0.0.1:1")
    async with running(lost):
        ended = await lost.examined("--quick")
    assert ended.failing() == {"radio.agent"}
    assert "Cannot open the radio" in ended.rows["radio.agent"]["found"]
    assert "adapter is plugged in" in ended.rows["radio.agent"]["do"]


async def test_a_jack_that_knew_the_time_in_this_boot(car: Car, initialised: Memory) -> None:
    with initialised.transaction():
        initialised.store_clock(ClockState(boot_id(), 0, offset_ms=1_700_000_000_000))
    assert (await car.examined("--quick")).rows["clock.trust"]["state"] == "ok"
    with initialised.transaction():
        initialised.store_clock(ClockState("another boot", 0, offset_ms=1_700_000_000_000))
    assert (await car.examined("--quick")).rows["clock.trust"]["state"] == "warning"


async def test_before_init(car: Car) -> None:
    ended = await car.examined("--quick")
    assert ended.exit_code == 0
    assert "cigarjack init" in ended.rows["clock.trust"]["found"]
    assert ended.rows["network.mdns"]["found"] == "not tried: --quick"


async def test_an_interface_that_is_not_there_fails(car: Car) -> None:
    ended = await doctor(
        "cigarjack",
        car.state,
        *("--json", "--radio", "smoke:signals"),
        environment={"CIGARJACK_INTERFACES": "192.0.2.200"},
    )
    assert ended.failing() == {"radio.opens", "network.mdns"}
    assert "No backend serves" in ended.rows["radio.opens"]["found"]


async def test_bluez_without_a_system_bus(tmp_path: Path) -> None:
    ended = await doctor(
        "cigarjack",
        tmp_path,
        *("--json", "--radio", "bluez:hci0"),
        environment=ENVIRONMENT | {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={tmp_path}/bus"},
    )
    assert ended.failing() == {"radio.service", "radio.opens"}
    for name in ("radio.service", "radio.opens"):
        assert "systemctl start dbus" in ended.rows[name]["do"]
    assert ended.rows["radio.slots"]["found"] == "bluetoothd does not answer"
    assert ended.rows["radio.interval"]["state"] == "unknown"

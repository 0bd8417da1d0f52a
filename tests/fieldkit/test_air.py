"""The whole air: its plan, its process, and connections through it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bumble import hci
from bumble.core import UUID
from bumble.device import Device, Peer
from bumble.gatt import Characteristic, Service
from bumble.transport import open_transport
from bumble.transport.common import Transport
from pydantic import ValidationError

from fieldkit.air import Air, AirPlan
from fieldkit.air_control import AirControl
from fieldkit.propagation import Propagation
from twochannel.radio.backends import open_radio
from twochannel.radio.port import Broadcast

PLAN = """
seed = 7
[propagation]
loss_probability = 0.0
[[controllers]]
name = "jack"
[[controllers]]
name = "terminal"
x = 3.0
y = 4.0
tx_power_dbm = 4
"""


# --- the plan


def test_a_plan_in_toml() -> None:
    plan = AirPlan.from_toml(PLAN)
    assert plan.seed == 7
    assert plan.propagation == Propagation(loss_probability=0)
    assert [plan.name for plan in plan.controllers] == ["jack", "terminal"]
    assert (plan.controllers[1].x, plan.controllers[1].y) == (3, 4)
    assert plan.controllers[1].tx_power_dbm == 4


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("seed = 1", "controllers"),
        ("controllers = []", "controllers"),
        ('[[controllers]]\nname = ""', "name"),
        ('[[controllers]]\nname = "a"\n[[controllers]]\nname = "a"', "name of its own"),
        ('[[controllers]]\nname = "a"\nport = 65536', "port"),
        ('[[controllers]]\nname = "a"\nx = nan', "x"),
        ('[[controllers]]\nname = "a"\ntx_power_dbm = 21', "tx_power_dbm"),
        ('[[controllers]]\nname = "a"\nmute = true', "mute"),
        ('[[controllers]]\nname = "a"\nhost = "usb"', "host"),
        ('[propagation]\nfading_sd_db = -1\n[[controllers]]\nname = "a"', "fading_sd_db"),
        ('[propagation]\nfading = 1\n[[controllers]]\nname = "a"', "fading"),
        ("seed = ", "Invalid value"),
    ],
)
def test_a_plan_that_makes_no_air_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        AirPlan.from_toml(text)


def test_all_problems_of_a_plan_are_told_at_once() -> None:
    with pytest.raises(ValidationError) as refused:
        AirPlan.from_toml('seed = "x"\n[[controllers]]\nname = "a"\nport = -1')
    assert refused.value.error_count() == 2


async def test_a_taken_port_closes_what_was_opened_before(air: Air) -> None:
    taken = int(air.control.rpartition(":")[2])
    plan = AirPlan.from_toml(PLAN).model_copy(update={"control_port": taken})
    with pytest.raises(OSError, match="in use"):
        await Air(plan).__aenter__()


# --- the process


class AirProcess:
    """``python -m fieldkit.air`` with the line it announces."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        assert self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.readline(), 30)).decode()

    async def end(self) -> tuple[int | None, str]:
        _, errors = await asyncio.wait_for(self.process.communicate(), 30)
        return self.process.returncode, errors.decode()


async def start_air(plan_file: Path, plan: str) -> AirProcess:
    await asyncio.to_thread(plan_file.write_text, plan, encoding="utf-8")
    arguments = (sys.executable, "-m", "fieldkit.air", "--config", str(plan_file))
    pipe = asyncio.subprocess.PIPE
    return AirProcess(await asyncio.create_subprocess_exec(*arguments, stdout=pipe, stderr=pipe))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_process_announces_itself_serves_and_ends(
    tmp_path: Path, number: signal.Signals
) -> None:
    air = await start_air(tmp_path / "plan.toml", PLAN)
    ready = json.loads(await air.line())
    assert ready["event"] == "air_ready"
    assert set(ready["controllers"]) == {"jack", "terminal"}
    async with AirControl(ready["control"]) as control:
        assert await control.positions() == {"jack": (0, 0), "terminal": (3, 4)}
    jack, terminal = (open_radio(f"bumble:{name}") for name in ready["controllers"].values())
    async with terminal, jack:
        sightings = terminal.scanner.sightings()
        await jack.advertiser.broadcast(Broadcast(0xFEAA, b"code", 20))
        assert (await asyncio.wait_for(anext(sightings), 30)).service_data == b"code"
        air.process.send_signal(number)
        assert await air.end() == (0, "")


@pytest.mark.parametrize(
    ("plan", "problem"),
    [("seed = 1", "controllers: Field required"), ("seed =", "not TOML")],
)
async def test_a_process_with_a_wrong_plan_says_what_is_wrong(
    tmp_path: Path, plan: str, problem: str
) -> None:
    air = await start_air(tmp_path / "plan.toml", plan)
    code, errors = await air.end()
    assert code == 1
    assert "plan.toml" in errors
    assert problem in errors
    assert "Traceback" not in errors


async def test_a_process_whose_port_is_taken_says_so(air: Air, tmp_path: Path) -> None:
    taken = air.control.rpartition(":")[2]
    second = await start_air(tmp_path / "plan.toml", f"control_port = {taken}\n{PLAN}")
    code, errors = await second.end()
    assert code == 1
    assert "choose other ports" in errors
    assert "Traceback" not in errors


# --- connections: Bumble's own GATT server and client over the air


class Peers:
    """A device at each of the two controllers."""

    def __init__(self, jack: Device, phone: Device) -> None:
        self.jack = jack
        self.phone = phone


async def power_on(air: Air, name: str, address: str) -> tuple[Transport, Device]:
    transport = await open_transport(air.transports[name])
    device = Device.with_hci(name, hci.Address(address), transport.source, transport.sink)
    return transport, device


SERVICE = "7A1E0001-0000-4000-8000-000000000000"
VALUE = "7A1E0002-0000-4000-8000-000000000000"


@pytest.fixture
async def peers(air: Air) -> AsyncIterator[Peers]:
    jack_transport, jack = await power_on(air, "jack", "C1:00:00:00:00:01")
    phone_transport, phone = await power_on(air, "terminal", "C2:00:00:00:00:02")
    value = Characteristic(
        VALUE, Characteristic.Properties.READ, Characteristic.READABLE, b"challenge"
    )
    jack.add_service(Service(SERVICE, [value]))
    async with jack_transport, phone_transport:
        for device in (jack, phone):
            await device.power_on()
        yield Peers(jack, phone)
        for device in (jack, phone):
            await device.power_off()


async def read_value(peer: Peer) -> bytes:
    (value,) = peer.get_characteristics_by_uuid(UUID(VALUE))
    return bytes(await asyncio.wait_for(value.read_value(), 30))


async def test_connections_work_and_survive_a_change_of_the_beacons_address(peers: Peers) -> None:
    await peers.jack.start_advertising(advertising_interval_min=20, advertising_interval_max=20)
    connection = await asyncio.wait_for(peers.phone.connect(peers.jack.random_address), 30)
    peer = Peer(connection)
    await asyncio.wait_for(peer.discover_services(), 30)
    await asyncio.wait_for(peer.discover_characteristics(), 30)
    assert await read_value(peer) == b"challenge"
    await peers.jack.host.send_sync_command(
        hci.HCI_LE_Set_Random_Address_Command(random_address=hci.Address("01:02:03:04:05:06"))
    )
    assert await read_value(peer) == b"challenge"
    await connection.disconnect()


async def test_a_peer_whose_controller_was_reset_is_told(air: Air, peers: Peers) -> None:
    await peers.jack.start_advertising(advertising_interval_min=20, advertising_interval_max=20)
    connection = await asyncio.wait_for(peers.phone.connect(peers.jack.random_address), 30)
    lost: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    connection.on("disconnection", lost.set_result)
    air.controller("jack").reset()
    assert await asyncio.wait_for(lost, 30) == hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR

"""From what befalls a BlueZ radio to systemd: told why, and no sign of life until it is over.

The system bus, bluetoothd and what is on the air are made here; all between them and systemd's
socket is real. Of the same causes under a real bluetoothd see tests/car/test_bluez_faults.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData

from tests.systemd import ALIVE, DEADLINE_S, Systemd
from twochannel.radio import (
    bluez_keeper,
    bluez_power,
    bluez_recovery,
    bluez_scanner,
    watch,
)
from twochannel.radio import bluez_names as names
from twochannel.radio.backends import open_radio
from twochannel.radio.bluez_refusals import NO_SERVICE, BluezError, meaning
from twochannel.radio.port import Broadcast, Equipment, Radio
from twochannel.radio.watch import RadioWatch
from twochannel.supervisor import supervised

HCI = "/org/bluez/hci0"
BEACON = Broadcast(0xFEAA, b"\x30\x00" + bytes(8), 100)
ADVERT = AdvertisementData(None, {}, {}, [], None, -50, (f"{HCI}/dev_1", {names.RSSI: -50}))
SLOTS = 5
PATIENCE_S = 2.0
LOOKS = 30


class Machine:
    """A system bus with a bluetoothd, its one adapter, and somebody who is heard by it."""

    def __init__(self) -> None:
        self.bluetoothd: str | None = ":1.1"
        self.free = SLOTS
        self.somebody_sends = True
        self._powered = True
        self._adverts: set[str] = set()

    async def connect(self) -> None: ...

    async def close(self) -> None: ...

    def export(self, path: str, interface: object) -> None: ...

    def withdraw(self, path: str) -> None: ...

    async def owner(self) -> str | None:
        return self.bluetoothd

    async def objects(self) -> dict[str, dict[str, dict[str, Any]]]:
        interfaces = (names.ADAPTER, names.ADVERTISING_MANAGER)
        return {HCI: {name: await self.properties(HCI, name) for name in interfaces}}

    async def properties(self, _path: str, interface: str) -> dict[str, Any]:
        self._answer()
        if interface == names.ADVERTISING_MANAGER:
            return {names.SUPPORTED_INSTANCES: self.free}
        address = "02:00:00:00:00:A1"
        return {names.ADDRESS: address, names.POWERED: self._powered, names.DISCOVERING: True}

    async def set_flag(self, _path: str, _interface: str, name: str, *, value: bool) -> None:
        assert name == names.POWERED
        self._powered = value

    async def call(self, _path: str, _interface: str, method: str, *body: Any, **_: str) -> None:
        self._answer()
        if method == names.REGISTER:
            # As long as a bluetoothd may take that asks a controller.
            await asyncio.sleep(0.05)
            if not self.free:
                text = meaning(names.NOT_PERMITTED, "Maximum advertisements reached", method)
                raise BluezError("bluez", text, names.NOT_PERMITTED)
            self._adverts.add(body[0])
        elif method == names.UNREGISTER:
            self._adverts.discard(body[0])

    def _answer(self) -> None:
        if self.bluetoothd is None:
            raise BluezError("bluez", NO_SERVICE, names.SERVICE_UNKNOWN)

    def discovery(self, heard: Callable[[BLEDevice, AdvertisementData], None], **_: Any) -> Any:
        return Discovery(self, heard)


class Discovery:
    """bleak's scanner."""

    def __init__(
        self, machine: Machine, heard: Callable[[BLEDevice, AdvertisementData], None]
    ) -> None:
        self._machine = machine
        self._heard = heard
        self._hearing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._hearing = asyncio.create_task(self._hear())

    async def stop(self) -> None:
        assert self._hearing is not None
        self._hearing.cancel()

    async def _hear(self) -> None:
        while True:
            if self._machine.somebody_sends:
                self._heard(BLEDevice("02:00:00:00:00:B1", None, {}), ADVERT)
            await asyncio.sleep(0.01)


class Unheard:
    """Nobody wants to know how the radio is (tests/twochannel/condition does)."""

    def opened(self, equipment: Equipment) -> None: ...

    def lost(self, reason: str, since_s: float) -> None: ...

    def well(self, rung: str) -> None: ...


async def broadcast(radio: Radio) -> None:
    """What a jack does, with codes that do not last."""
    while True:
        await radio.advertiser.broadcast(BEACON)
        await asyncio.sleep(0.2)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """All waits of the radio are a hundredth of what they are."""
    machine = Machine()
    monkeypatch.setattr(bluez_keeper, "Bus", lambda *_: machine)
    monkeypatch.setattr(bluez_scanner, "BleakScanner", machine.discovery)
    monkeypatch.setattr(bluez_keeper, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(bluez_power, "_OFF_S", 0.01)
    monkeypatch.setattr(bluez_recovery, "RETRY_AFTER_S", (0.01, 0.02, 0.04))
    monkeypatch.setattr(bluez_recovery, "UNHEALTHY_AFTER_S", 0.6)
    monkeypatch.setattr(watch, "FIRST_RETRY_S", 0.05)
    monkeypatch.setattr(watch, "LAST_RETRY_S", 0.05)
    return machine


class Agent:
    """A radio as a jack keeps it, told to systemd."""

    def __init__(self, systemd: Systemd) -> None:
        self._systemd = systemd
        self._radio = RadioWatch(lambda: open_radio("bluez"), broadcast, Unheard())
        self._looks = 0

    def problem(self) -> str | None:
        self._looks += 1
        return self._radio.problem

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        radio = asyncio.create_task(self._radio.run())
        supervisor = self._systemd.supervisor()
        try:
            async with supervised(lambda: "Well.", self.problem, PATIENCE_S, supervisor):
                yield
        finally:
            radio.cancel()
            await asyncio.gather(radio, return_exceptions=True)

    async def told_until(self, condition: Callable[[], object]) -> list[str]:
        """What systemd is told meanwhile."""
        told: list[str] = []
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                await asyncio.sleep(0.01)
                told += self._systemd.waiting()
        return told

    async def told_while_looking(self) -> list[str]:
        until = self._looks + LOOKS
        return await self.told_until(lambda: self._looks >= until)


def bluetoothd_missing(machine: Machine, *, begins: bool) -> None:
    machine.bluetoothd = None if begins else ":1.2"


def silent_scanner(machine: Machine, *, begins: bool) -> None:
    machine.somebody_sends = not begins


def advertising_slots_exhausted(machine: Machine, *, begins: bool) -> None:
    machine.free = 0 if begins else SLOTS


def given_up(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What the supervisor has logged as an error; others may log too."""
    mine = (record for record in caplog.records if record.name == "twochannel.supervisor")
    return [record for record in mine if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    ("cause", "advice"),
    [
        (bluetoothd_missing, "systemctl start bluetooth"),
        (silent_scanner, "has heard nothing"),
        (advertising_slots_exhausted, "end the programs that advertise"),
    ],
)
async def test_what_keeps_a_radio_from_its_work_ends_the_signs_of_life_until_it_is_over(
    machine: Machine,
    systemd: Systemd,
    caplog: pytest.LogCaptureFixture,
    cause: Callable[..., None],
    advice: str,
) -> None:
    agent = Agent(systemd)
    async with agent.running():
        await systemd.up_to("STATUS=Well.")
        await systemd.up_to(ALIVE)
        with caplog.at_level(logging.ERROR, "twochannel.supervisor"):
            cause(machine, begins=True)
            told = await agent.told_until(lambda: given_up(caplog))
        assert any(line.startswith("STATUS=") and advice in line for line in told)
        told = await agent.told_while_looking()
        assert not {ALIVE, "STATUS=Well."} & set(told)
        cause(machine, begins=False)
        told += await systemd.up_to(ALIVE)
        assert [line for line in told if line.startswith("STATUS=")][-1] == "STATUS=Well."

"""Examines what every agent's doctor looks at: the radio, the Wi-Fi, the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from twochannel.doctor import known_bad, listening_rules, machine, machine_rules, radio_rules
from twochannel.doctor.bluez import read_bluez
from twochannel.doctor.findings import Absent, Missing, Refused, Row, Unread
from twochannel.doctor.listening import BROADCAST_S, LISTEN_S, broadcast, listen
from twochannel.doctor.machine import Roots
from twochannel.doctor.network_rules import wifi_rows
from twochannel.doctor.readings import (
    AdapterReading,
    AgentRadio,
    BluezReading,
    Broadcasting,
    Listening,
)
from twochannel.doctor.wifi import read_wifi
from twochannel.radio.backends import open_radio
from twochannel.radio.bluez_adapters import AdapterChoice
from twochannel.radio.port import RadioError
from twochannel.state_folder import FolderInUseError, locked

#: Told before each step that takes time: what it is, and how many seconds it takes.
Progress = Callable[[str, float], None]

#: BlueZ opens within this, controllers that are powered on included.
_OPEN_S: Final = 2.0
_BLUEZ: Final = "bluez"


@dataclass(frozen=True, slots=True)
class Patient:
    """Who is examined. ``radio``: as in the settings, or None; ``interval_ms``: what it asks for.

    ``agent``: what the running agent says of its radio; Absent while none runs. ``wifi``: whether
    it needs one.
    ``quick``: measure nothing that takes time.
    """

    state: Path
    radio: str | None
    interval_ms: int
    agent: AgentRadio | Missing
    wifi: bool
    quick: bool
    progress: Progress
    roots: Roots = field(default_factory=Roots)

    @property
    def running(self) -> bool:
        return isinstance(self.agent, AgentRadio | Unread)


@dataclass(frozen=True, slots=True)
class Measured:
    """What the open radio showed."""

    opened: str | Refused | Missing
    heard: Listening | Missing
    sent: Broadcasting | Refused | Missing


NOT_RUNNING: Final = Absent("the agent does not run: the radio itself is looked at")


@contextmanager
def agent_kept_out(state: Path) -> Iterator[bool]:
    """Hold the state folder while the block runs; False if the agent has it. StateFolderError."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(state))
        except FolderInUseError:
            alone = False
        else:
            alone = True
        yield alone


async def air_rows(patient: Patient) -> list[Row]:
    """Every row of the radio, and of the Wi-Fi for those whom it concerns."""
    if patient.radio is None:
        bluez: BluezReading | Refused | Missing = radio_rules.NO_RADIO
        rows = _without_radio()
    else:
        bluez = await _bluez_of(patient.radio, patient.roots)
        rows = _radio_rows(patient, bluez, await _measure(patient, bluez))
    return rows + (_wifi_rows(patient.roots, bluez) if patient.wifi else [])


def _radio_rows(
    patient: Patient, bluez: BluezReading | Refused | Missing, measured: Measured
) -> list[Row]:
    return [
        *_bluez_rows(patient, bluez, measured),
        radio_rules.agent_row(patient.agent),
        radio_rules.opens_row(measured.opened),
        listening_rules.hears_row(measured.heard),
        listening_rules.blind_row(measured.heard),
        listening_rules.rssi_step_row(measured.heard),
        listening_rules.advertises_row(measured.sent),
        listening_rules.interval_row(_adapter(bluez), measured.sent, patient.interval_ms),
    ]


def _without_radio() -> list[Row]:
    none = radio_rules.NO_RADIO
    return [
        *radio_rules.without_bluez(none),
        radio_rules.agent_row(none),
        radio_rules.opens_row(none),
        *(check.missing(none) for check in listening_rules.MEASURED),
    ]


async def _bluez_of(radio: str, roots: Roots) -> BluezReading | Refused | Missing:
    backend, _, adapter = radio.partition(":")
    if backend != _BLUEZ:
        return Absent(f"the radio is {radio}, not BlueZ")
    try:
        choice = AdapterChoice.parse(adapter)
    except ValueError:
        choice = AdapterChoice(name=adapter)  # which no adapter has; opening the radio says more
    return await read_bluez(choice, roots)


def _adapter(bluez: BluezReading | Refused | Missing) -> AdapterReading | Missing | None:
    """None for a radio that commands its controller itself."""
    if isinstance(bluez, Absent):
        return None
    if isinstance(bluez, BluezReading) and bluez.chosen is not None:
        return bluez.chosen
    return Unread("there is no adapter")


def _bluez_rows(
    patient: Patient, bluez: BluezReading | Refused | Missing, measured: Measured
) -> list[Row]:
    if isinstance(bluez, Absent):
        return radio_rules.without_bluez(bluez)
    silent = Unread("bluetoothd does not answer")
    version = bluez.version if isinstance(bluez, BluezReading) else silent
    reading = bluez if isinstance(bluez, BluezReading) else silent
    return [
        radio_rules.service_row(bluez),
        known_bad.pair_row(
            machine.kernel(patient.roots),
            version,
            advert_accepted=isinstance(measured.sent, Broadcasting),
        ),
        radio_rules.rfkill_row(machine.rfkill(patient.roots)),
        *radio_rules.adapter_rows(reading, patient.radio or "", agent_running=patient.running),
    ]


async def _measure(patient: Patient, bluez: BluezReading | Refused | Missing) -> Measured:
    if patient.running:
        busy = Unread("not measured: the agent runs and has the radio; stop it for that")
        return Measured(busy, busy, busy)
    if patient.quick:
        left_out = Unread("not measured: --quick")
        return Measured(left_out, left_out, left_out)
    patient.progress("Opening the radio", _OPEN_S)
    try:
        async with open_radio(patient.radio or "") as radio:
            patient.progress("Listening", LISTEN_S)
            heard = await listen(radio)
            patient.progress("Advertising", BROADCAST_S)
            sent = await broadcast(radio, patient.interval_ms, _witness(bluez))
            return Measured(radio.name, heard, sent)
    except RadioError as error:
        unopened = Unread("not measured: the radio does not open, or was lost")
        return Measured(radio_rules.refused(str(error)), unopened, unopened)


def _witness(bluez: BluezReading | Refused | Missing) -> str | None:
    if not isinstance(bluez, BluezReading):
        return None
    adapter = radio_rules.witness_among(bluez)
    return f"{_BLUEZ}:{adapter.address}" if adapter is not None else None


def _wifi_rows(roots: Roots, bluez: BluezReading | Refused | Missing) -> list[Row]:
    adapter = _adapter(bluez)
    # A radio beside BlueZ is a dongle, and no part of the Wi-Fi's chip.
    name = adapter.name if isinstance(adapter, AdapterReading) else "hci0"
    on_usb = adapter is None or machine.on_usb(roots, name)
    return wifi_rows(read_wifi(roots, bluetooth_on_usb=on_usb))


def system_clock_row() -> Row:
    """The clock of those who use the system's."""
    return machine_rules.synchronised_row(machine.synchronisation())


def machine_rows(patient: Patient, clock: Row) -> list[Row]:
    """Clocks, voltage, disk. ``clock``: of the clock that the agent goes by."""
    roots = patient.roots
    return [
        machine_rules.clock_source_row(
            machine.clock_source(roots), real_time_clock=machine.has_real_time_clock(roots)
        ),
        clock,
        machine_rules.voltage_row(machine.throttled(roots)),
        machine_rules.disk_row(machine.disk_sync(patient.state, roots)),
    ]

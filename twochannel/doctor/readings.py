"""PURE. What the shells of the doctor read, as the rules take it."""

from __future__ import annotations

from dataclasses import dataclass

from twochannel.doctor.findings import Missing, Refused
from twochannel.doctor.known_bad import Version


@dataclass(frozen=True, slots=True)
class Hardware:
    """A controller. ``told``: all that is known of it, for people.

    ``manufacturer``: its number with the Bluetooth SIG. ``revision``: HCI_Revision, which is what
    the manufacturer says it is; None: not told.
    """

    told: str
    manufacturer: int | None = None
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class AdapterReading:
    """One adapter as bluetoothd shows it.

    ``intervals``, ``monitors``: whether bluetoothd takes those. ``free_slots``: for adverts.
    """

    name: str
    address: str
    powered: bool
    discovering: bool
    extended: bool
    intervals: bool
    monitors: bool
    active_adverts: int
    free_slots: int
    hardware: Hardware | Missing

    @property
    def idle(self) -> bool:
        """Nobody uses it."""
        return self.powered and not self.discovering and not self.active_adverts


@dataclass(frozen=True, slots=True)
class BluezReading:
    """bluetoothd and its adapters. ``chosen``: the one that is meant, if it is there."""

    version: Version | Missing
    adapters: tuple[AdapterReading, ...]
    chosen: AdapterReading | None


@dataclass(frozen=True, slots=True)
class RfkillSwitch:
    """One switch of Bluetooth in /sys/class/rfkill."""

    name: str
    soft: bool
    hard: bool


@dataclass(frozen=True, slots=True)
class Listening:
    """What was heard in ``seconds``. Times: seconds since it began.

    ``heard_at_s``: of adverts of any kind, close ones as one. ``levels``: sender and dBm of
    every advert with service data, in order.
    """

    seconds: float
    heard_at_s: tuple[float, ...]
    levels: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Broadcasting:
    """An accepted broadcast. ``heard_at_s``: when a witness heard it; None without a witness."""

    heard_at_s: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class AgentRadio:
    """What a running agent says of its radio. ``problem``: a sentence, or "" if it works."""

    problem: str
    detail: str


@dataclass(frozen=True, slots=True)
class Wifi:
    """One Wi-Fi interface. ``mhz``: None while it is not connected.

    ``power_save``: None if it is not told. ``shared``: whether it is one chip with the Bluetooth
    adapter, and has one antenna with it.
    """

    interface: str
    mhz: int | None
    power_save: bool | None
    shared: bool


@dataclass(frozen=True, slots=True)
class Synchronisation:
    """The kernel's view of the wall clock."""

    synchronised: bool
    greatest_error_s: float


@dataclass(frozen=True, slots=True)
class DiskSync:
    """``times_ms``: of each fsync. ``filesystem``: its type."""

    times_ms: tuple[float, ...]
    filesystem: str


@dataclass(frozen=True, slots=True)
class ServerReading:
    """Each step needs the one before it."""

    address: str
    connected_ms: float | Refused
    pinned: str | Refused | Missing
    offset_ms: int | Refused | Missing

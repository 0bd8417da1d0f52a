"""PURE. Kernels and BlueZ releases that are known not to work, alone or together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from twochannel.doctor import catalogue
from twochannel.doctor.findings import Missing, Row, State, Unread
from twochannel.radio import bluez_adapters

#: Major, minor, patch.
Version = tuple[int, int, int]
_NUMBERS: Final = r"(\d+)\.(\d+)(?:\.(\d+))?"


@dataclass(frozen=True, slots=True)
class Range:
    """Versions from ``first`` to ``last``, both of them included."""

    first: Version
    last: Version

    def __contains__(self, version: Version) -> bool:
        return self.first <= version <= self.last

    def __str__(self) -> str:
        if self == ANY:
            return "any"
        series = f"{self.last[0]}.{self.last[1]}"
        if self.first == _EARLIEST:
            return f"up to {series}"
        if self.last[2] == LATEST:
            return f"{_dotted(self.first)} and later {series}" if self.first[2] else series
        if self.first == self.last:
            return _dotted(self.last)
        return f"{_dotted(self.first)} to {_dotted(self.last)}"


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))


_EARLIEST: Final = (0, 0, 0)
#: Beyond every number that a version will have.
LATEST: Final = 999
ANY: Final = Range(_EARLIEST, (LATEST, LATEST, LATEST))


@dataclass(frozen=True, slots=True)
class KnownBad:
    """Bad where both match. ``source``: where it was reported, here or elsewhere."""

    kernels: tuple[Range, ...]
    bluez: Range
    what: str
    do: str
    source: str
    state: State = State.FAILING


KNOWN_BAD: Final = (
    KnownBad(
        # Works with 6.12.87 and 6.18.33; of the 6.12 kernels the first good one is not known.
        kernels=(Range((6, 12, 93), (6, 12, LATEST)), Range((6, 18, 34), (6, 18, 35))),
        bluez=Range(_EARLIEST, (5, 86, LATEST)),
        what="the kernel refuses every advert of this BlueZ (MGMT 0x0055, status 0x0d)",
        do=f"{catalogue.UPGRADE}, for kernel 6.18.36 or BlueZ 5.87; until they are there, boot an "
        "older kernel",
        source="https://github.com/raspberrypi/linux/issues/7473 and "
        "https://github.com/bluez/bluez/issues/2269",
    ),
    KnownBad(
        kernels=(ANY,),
        bluez=Range((5, 87, 0), (5, 87, LATEST)),
        what="bluetoothd crashes when any program scans with a filter of service UUIDs; the agents "
        "do not, and outlive the crash",
        do="keep other scanning programs off this machine, and take the BlueZ after 5.87",
        source="https://github.com/bluez/bluez/issues/2282",
        state=State.WARNING,
    ),
    KnownBad(
        kernels=(Range((6, 1, 0), (6, 1, 56)),),
        bluez=ANY,
        what="after a while discovery may not start again (InProgress) until the next boot",
        do=f"{catalogue.UPGRADE}, for kernel 6.1.57",
        source="https://github.com/home-assistant/core/issues/92379",
        state=State.WARNING,
    ),
    KnownBad(
        # Whether earlier ones do is not known; 6.1.187 does not.
        kernels=(Range((6, 1, 170), (6, 1, 176)),),
        bluez=ANY,
        what="with an adapter without BR/EDR, or ControllerMode = le, a lane frame overflows the "
        "kernel's stack",
        do=f"{catalogue.UPGRADE}, for kernel 6.1.187; until it is there, leave ControllerMode dual",
        source="https://github.com/bluez/bluetooth-next/pull/275 and docs/virtual-car.md",
        state=State.WARNING,
    ),
    KnownBad(
        kernels=(Range((6, 1, 192), (6, 1, 192)),),
        bluez=ANY,
        what="the kernel may fault when a Bluetooth connection is closed (hci_chan_del)",
        do=f"boot kernel 6.1.190, or take a later one: {catalogue.UPGRADE}",
        source="docs/virtual-car.md",
        state=State.WARNING,
    ),
)


@dataclass(frozen=True, slots=True)
class Kernel:
    """``release``: as ``uname -r`` has it. ``version``: of the kernel that it was made from."""

    release: str
    version: Version


def kernel_of(release: str, build: str, signature: str) -> Kernel | Missing:
    """The kernel by ``uname -r``, ``uname -v`` and /proc/version_signature ("" if there is none).

    Debian's and Ubuntu's releases hide the third number: 6.1.0-28-amd64 is 6.1.119, which is in
    ``uname -v`` (``Debian 6.1.119-1``) or at the end of the signature.
    """
    hidden = re.search(rf"Debian (?:\d+:)?{_NUMBERS}", build)
    found = hidden or re.search(rf" {_NUMBERS}$", signature) or re.match(_NUMBERS, release)
    if found is None:
        return Unread(f'the kernel calls itself "{release}"')
    return Kernel(release, _version(found))


def bluez_version(modalias: str) -> Version | Missing:
    """The BlueZ that runs, by the Modalias of its adapters: usb:v1D6Bp0246d0542 is BlueZ 5.66.

    An administrator may have set another DeviceID.
    """
    found = bluez_adapters.bluez_version(modalias)
    if found is None:
        return Unread(f'bluetoothd shows no version of its own (Modalias "{modalias}")')
    return *found, 0


def pair_row(kernel: Kernel | Missing, bluez: Version | Missing, *, advert_accepted: bool) -> Row:
    """``advert_accepted``: whether an advert was just seen to be accepted; that beats the table."""
    check = catalogue.PAIR
    for reading in (kernel, bluez):
        if not isinstance(reading, Kernel | tuple):
            return check.missing(reading)
    if not isinstance(kernel, Kernel) or not isinstance(bluez, tuple):
        raise TypeError("what is missing was told above")
    told = f"{kernel.release}, BlueZ {bluez[0]}.{bluez[1]}"
    bad = _worst(kernel.version, bluez)
    if bad is None:
        return check.ok(told)
    if bad.state is State.WARNING:
        return check.warning(f"{told}: {bad.what}", do=bad.do)
    if advert_accepted:
        return check.warning(f"{told}: on the list, but an advert was accepted", do=bad.do)
    return check.failing(f"{told}: {bad.what}", do=bad.do)


def _worst(kernel: Version, bluez: Version) -> KnownBad | None:
    matching = [
        bad
        for bad in KNOWN_BAD
        if bluez in bad.bluez and any(kernel in kernels for kernels in bad.kernels)
    ]
    return min(matching, key=lambda bad: bad.state is not State.FAILING, default=None)


def _version(found: re.Match[str]) -> Version:
    return int(found[1]), int(found[2]), int(found[3] or 0)

"""Reads what the kernel says of this process and machine, in well under a millisecond."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from twochannel.doctor.findings import Absent, Unread
from twochannel.doctor.machine import (
    Roots,
    clock_source,
    synchronisation,
    text,
    throttled_file,
    voltage_file,
)
from twochannel.doctor.machine_rules import UNDER_VOLTAGE_NOW
from twochannel.doctor.readings import Synchronisation

#: Bits of get_throttled: the processor is capped, throttled, or at its soft limit of temperature
#: (raspberrypi.com, documentation of vcgencmd).
_SLOWED: Final = 0b1110
#: systemd-timesyncd leaves it where it has set the clock (systemd-timesyncd.service(8)).
_TIMESYNCD: Final = Path("/run/systemd/timesync/synchronized")
#: Two clocks read further apart than this were torn by what else the machine did.
_TORN_NS: Final = 1_000_000
_READINGS: Final = 5
_BYTES_PER_MIB: Final = 1024 * 1024


def clocks() -> tuple[int, int] | None:
    """Wall clock and CLOCK_BOOTTIME of one moment, nanoseconds; None on a machine too busy."""
    for _ in range(_READINGS):
        boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        wall_ns = time.time_ns()
        if time.clock_gettime_ns(time.CLOCK_BOOTTIME) - boot_ns < _TORN_NS:
            return wall_ns, boot_ns
    return None


class Sensors:
    """What tells voltage and heat. Which there are is looked for once, and in ``find`` again."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self.find()

    def find(self) -> None:
        """Drivers may come late."""
        self._alarm = voltage_file(self._roots)
        self._word = throttled_file(self._roots)
        self._zones = sorted(self._roots.sys.glob("class/thermal/thermal_zone*/temp"))
        coolers = self._roots.sys.glob("class/thermal/cooling_device*")
        slowing = (cooler for cooler in coolers if "cpufreq" in (text(cooler / "type") or ""))
        self._coolers = sorted(cooler / "cur_state" for cooler in slowing)

    def under_voltage(self) -> bool | None:
        """Whether a Raspberry Pi gets too little voltage; None where nothing tells."""
        if self._alarm is not None:
            return text(self._alarm) == "1"
        return None if self._word is None else bool(self._bits() & UNDER_VOLTAGE_NOW)

    def celsius(self) -> float | None:
        """Of the hottest zone; None if there is none."""
        told = [found for zone in self._zones if (found := text(zone))]
        return max((int(milli) / 1000 for milli in told), default=None)

    def throttled(self) -> bool:
        """Whether the processor is slowed down now: by the firmware, or by the kernel for heat."""
        if self._word is not None:
            return bool(self._bits() & _SLOWED)
        return any(text(cooler) not in {None, "0"} for cooler in self._coolers)

    def _bits(self) -> int:
        return int((self._word and text(self._word)) or "0", 16)


def clock_synchronised() -> bool | None:
    """Whether a time service has set the wall clock; None if nobody tells this process."""
    told = synchronisation()
    if isinstance(told, Synchronisation):
        return told.synchronised
    # The units forbid even to ask (ProtectClock).
    return True if _TIMESYNCD.exists() else None


def clock_source_name(roots: Roots) -> str | None:
    """The kernel's clocksource."""
    found = clock_source(roots)
    return None if isinstance(found, Unread | Absent) else found


def resident_mib(roots: Roots) -> float | None:
    """Memory of this process (proc_pid_statm(5))."""
    told = (text(roots.proc / "self/statm") or "").split()
    return round(int(told[1]) * os.sysconf("SC_PAGESIZE") / _BYTES_PER_MIB, 1) if told else None


def descriptors(roots: Roots) -> int | None:
    """How many files, sockets and the like this process has open."""
    try:
        return len(os.listdir(roots.proc / "self/fd"))  # noqa: PTH208
    except OSError:
        return None


def free_mib(folder: Path) -> int | None:
    """What a user may still write where ``folder`` lies."""
    try:
        told = os.statvfs(folder)
    except OSError:
        return None
    return told.f_bavail * told.f_frsize // _BYTES_PER_MIB

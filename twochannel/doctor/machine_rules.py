"""PURE. The rows of the machine itself: voltage, disk, clocks."""

from __future__ import annotations

from statistics import median
from typing import Final

from twochannel.doctor import catalogue
from twochannel.doctor.findings import Missing, Refused, Row, judged
from twochannel.doctor.readings import DiskSync, Synchronisation

#: Bits of get_throttled (raspberrypi.com, documentation of vcgencmd).
UNDER_VOLTAGE_NOW: Final = 1 << 0
UNDER_VOLTAGE_SINCE_BOOT: Final = 1 << 16

#: A payment waits for about ten of them.
_SLOW_SYNC_MS: Final = 50.0
_FAILING_SYNC_MS: Final = 250.0
_IN_MEMORY: Final = {"tmpfs", "ramfs", "overlay"}


def voltage_row(throttled: int | Missing) -> Row:
    def rule(bits: int) -> Row:
        found = f"get_throttled {bits:#x}"
        if bits & UNDER_VOLTAGE_NOW:
            return catalogue.VOLTAGE.failing(f"too low now ({found})", f"{bits:#x}")
        if bits & UNDER_VOLTAGE_SINCE_BOOT:
            return catalogue.VOLTAGE.warning(f"was too low since the boot ({found})", f"{bits:#x}")
        return catalogue.VOLTAGE.ok(f"never too low ({found})", f"{bits:#x}")

    return judged(catalogue.VOLTAGE, throttled, rule)


def disk_row(disk: DiskSync | Refused) -> Row:
    return judged(catalogue.DISK_SYNC, disk, _disk_row)


def _disk_row(disk: DiskSync) -> Row:
    middle_ms, worst_ms = median(disk.times_ms), max(disk.times_ms)
    found = f"{middle_ms:.2f} ms, at most {worst_ms:.1f} ms, on {disk.filesystem}"
    value = round(middle_ms, 3)
    if disk.filesystem in _IN_MEMORY:
        do = "choose a folder on a disk with --state: this one may not outlive a power cut"
        return catalogue.DISK_SYNC.warning(found, value, do)
    if middle_ms >= _FAILING_SYNC_MS:
        return catalogue.DISK_SYNC.failing(found, value)
    if middle_ms >= _SLOW_SYNC_MS:
        return catalogue.DISK_SYNC.warning(found, value)
    return catalogue.DISK_SYNC.ok(found, value)


def clock_source_row(source: str | Missing, *, real_time_clock: bool) -> Row:
    def rule(name: str) -> Row:
        found = f"{name}, {'a' if real_time_clock else 'no'} real-time clock"
        # The kernel's last resort, which loses time whenever interrupts are late.
        if name == "jiffies":
            return catalogue.CLOCK_SOURCE.warning(found, name)
        return catalogue.CLOCK_SOURCE.ok(found, name)

    return judged(catalogue.CLOCK_SOURCE, source, rule)


def synchronised_row(reading: Synchronisation | Missing) -> Row:
    def rule(known: Synchronisation) -> Row:
        error_s = round(known.greatest_error_s, 3)
        if known.synchronised:
            return catalogue.CLOCK_SYNCHRONISED.ok(f"yes, within {error_s} s", error_s)
        return catalogue.CLOCK_SYNCHRONISED.warning("no time service has set it")

    return judged(catalogue.CLOCK_SYNCHRONISED, reading, rule)


def trust_row(trusted: bool | Missing) -> Row:
    """``trusted``: whether the jack knows the time."""

    def rule(known: bool) -> Row:
        if known:
            return catalogue.CLOCK_TRUST.ok("trusted", value=True)
        return catalogue.CLOCK_TRUST.warning("not known yet in this boot", value=False)

    return judged(catalogue.CLOCK_TRUST, trusted, rule)

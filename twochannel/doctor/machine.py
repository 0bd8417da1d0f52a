"""Reads the machine: what /proc, /sys and the kernel tell an ordinary user."""

from __future__ import annotations

import ctypes
import os
import secrets
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from twochannel.doctor.findings import Absent, Missing, Refused, Unread
from twochannel.doctor.known_bad import Kernel, kernel_of
from twochannel.doctor.readings import DiskSync, Hardware, RfkillSwitch, Synchronisation
from twochannel.state_folder import filesystem_of

_THROTTLED: Final = "devices/platform/soc*/*firmware*/get_throttled"
_MODEL: Final = "device-tree/model"
_SYNCS: Final = 20
_PAGE_BYTES: Final = 4096
_COMMAND_TIMEOUT_S: Final = 5.0
#: The kernel counts the error of a clock that nobody sets up to this (NTP_PHASE_LIMIT), as
#: systemd judges it, too: chrony may leave the flag of adjtimex alone.
_UNSYNCHRONISED_ERROR_US: Final = 16_000_000


@dataclass(frozen=True, slots=True)
class Roots:
    """Where the kernel's file systems are."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")


def run(*command: str) -> str | None:
    """What a program prints; None if it is not installed, fails, or hangs."""
    # Administrators' programs are not on the PATH of every user.
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    try:
        done = subprocess.run(
            command,
            env=os.environ | {"PATH": path, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_COMMAND_TIMEOUT_S,
            text=True,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def text(path: Path) -> str | None:
    """The text of a small file of the kernel; None if there is none that may be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return None


def kernel(roots: Roots) -> Kernel | Missing:
    """The running kernel."""
    release = text(roots.proc / "sys/kernel/osrelease")
    if release is None:
        return Unread("/proc/sys/kernel/osrelease cannot be read")
    build = text(roots.proc / "sys/kernel/version") or ""
    return kernel_of(release, build, text(roots.proc / "version_signature") or "")


def rfkill(roots: Roots) -> tuple[RfkillSwitch, ...] | Missing:
    """The Bluetooth switches."""
    folder = roots.sys / "class/rfkill"
    if not folder.is_dir():
        return Absent("this kernel has no rfkill")
    return tuple(
        RfkillSwitch(
            text(switch / "name") or switch.name,
            soft=text(switch / "soft") == "1",
            hard=text(switch / "hard") == "1",
        )
        for switch in sorted(folder.iterdir())
        if text(switch / "type") == "bluetooth"
    )


def throttled_file(roots: Roots) -> Path | None:
    """``get_throttled`` of the firmware, where the kernel shows it: hexadecimal."""
    return next((file for file in roots.sys.glob(_THROTTLED) if text(file) is not None), None)


def voltage_file(roots: Roots) -> Path | None:
    """The alarm of rpi_volt: 1 while the voltage is, or within two seconds was, too low."""
    sensors = roots.sys.glob("class/hwmon/hwmon*")
    found = (sensor for sensor in sensors if text(sensor / "name") == "rpi_volt")
    return next((sensor / "in0_lcrit_alarm" for sensor in found), None)


def throttled(roots: Roots) -> int | Missing:
    """``get_throttled`` of the firmware; of rpi_volt, which knows under-voltage alone, its bits."""
    if (word := throttled_file(roots)) is not None:
        return int(text(word) or "0", 16)
    if (alarm := voltage_file(roots)) is not None:
        return (1 << 16) if text(alarm) == "1" else 0
    model = text(roots.proc / _MODEL) or ""
    if not model.startswith("Raspberry Pi"):
        return Absent("not a Raspberry Pi")
    told = run("vcgencmd", "get_throttled")
    if told is None or not told.startswith("throttled="):
        return Unread("no vcgencmd for this user: sudo usermod -aG video $USER, then log in again")
    return int(told.strip().removeprefix("throttled="), 16)


def clock_source(roots: Roots) -> str | Missing:
    """The kernel's clocksource."""
    file = roots.sys / "devices/system/clocksource/clocksource0/current_clocksource"
    return text(file) or Unread(f"{file} cannot be read")


def has_real_time_clock(roots: Roots) -> bool:
    """Whether the machine has a clock of its own with a battery or the like."""
    return (roots.sys / "class/rtc/rtc0").exists()


class _Timex(ctypes.Structure):
    """The head of ``struct timex`` (adjtimex(2)); the rest is not looked at."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror_us", ctypes.c_long),
        ("rest", ctypes.c_ubyte * 256),
    )


def synchronisation() -> Synchronisation | Missing:
    """What adjtimex(2) tells; it changes nothing."""
    state = _Timex()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.adjtimex(ctypes.byref(state)) < 0:
        return Unread(f"adjtimex is refused here ({os.strerror(ctypes.get_errno())})")
    error_us = int(state.maxerror_us)
    return Synchronisation(error_us < _UNSYNCHRONISED_ERROR_US, error_us / 1e6)


def disk_sync(folder: Path, roots: Roots) -> DiskSync | Refused:
    """How long the disk of ``folder`` takes to have 4 KiB for good. The file is removed again."""
    # Its own name: the folder is another program's as well.
    file = folder / f"doctor-{secrets.token_hex(4)}.tmp"
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            times_ms = tuple(_sync_ms(descriptor) for _ in range(_SYNCS))
        finally:
            os.close(descriptor)
            file.unlink()
    except OSError as error:
        return Refused(f"cannot write in {folder} ({error.strerror})", "make room, or mount it rw")
    mounts = text(roots.proc / "mounts") or ""
    return DiskSync(times_ms, filesystem_of(folder.resolve(), mounts))


def _sync_ms(descriptor: int) -> float:
    began_ns = time.perf_counter_ns()
    os.write(descriptor, secrets.token_bytes(_PAGE_BYTES))
    os.fsync(descriptor)
    return (time.perf_counter_ns() - began_ns) / 1e6


def on_usb(roots: Roots, adapter: str) -> bool:
    """Whether a Bluetooth adapter (``hci0``) is a USB device."""
    return "usb" in (roots.sys / "class/bluetooth" / adapter).resolve().as_posix()


def controller(roots: Roots, adapter: str) -> Hardware | Missing:
    """Manufacturer, version and firmware of an adapter by debugfs, which is root's."""
    folder = roots.sys / "kernel/debug/bluetooth" / adapter
    names: Sequence[str] = ("manufacturer", "hci_version", "hci_revision", "firmware_info")
    told = {name: found for name in names if (found := text(folder / name))}
    if not told:
        return Unread("neither bluetoothd nor debugfs tells it to this user")
    return Hardware(
        ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in told.items()),
        manufacturer=_number(told.get("manufacturer")),
        revision=_number(told.get("hci_revision")),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None

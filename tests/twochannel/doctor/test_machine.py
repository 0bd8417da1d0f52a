"""Reading /proc and /sys: real files, laid out as kernels and Raspberry Pis have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from twochannel.doctor import machine
from twochannel.doctor.findings import Absent, Refused, Unread
from twochannel.doctor.known_bad import Kernel
from twochannel.doctor.machine import Roots
from twochannel.doctor.readings import DiskSync, Hardware, RfkillSwitch, Synchronisation


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    return Roots(tmp_path / "proc", tmp_path / "sys")


def lay(root: Path, **files: str) -> None:
    """Files of a kernel, which end with a newline. In the names ``__`` stands for ``/``."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


def test_the_kernel(roots: Roots) -> None:
    assert isinstance(machine.kernel(roots), Unread)
    lay(
        roots.proc / "sys/kernel",
        osrelease="6.1.0-28-amd64",
        version="#1 SMP Debian 6.1.119-1 (2024-11-22)",
    )
    assert machine.kernel(roots) == Kernel("6.1.0-28-amd64", (6, 1, 119))


def test_this_kernel_is_read() -> None:
    assert isinstance(machine.kernel(Roots()), Kernel)
    assert isinstance(machine.clock_source(Roots()), str)


def test_rfkill_tells_the_switches_of_bluetooth_alone(roots: Roots) -> None:
    assert machine.rfkill(roots) == Absent("this kernel has no rfkill")
    switches = roots.sys / "class/rfkill"
    lay(switches / "rfkill0", type="wlan", name="phy0", soft="1", hard="0")
    lay(switches / "rfkill1", type="bluetooth", name="hci0", soft="1", hard="0")
    lay(switches / "rfkill2", type="bluetooth", name="laptop", soft="0", hard="1")
    assert machine.rfkill(roots) == (
        RfkillSwitch("hci0", soft=True, hard=False),
        RfkillSwitch("laptop", soft=False, hard=True),
    )


@pytest.mark.parametrize(
    "place",
    ["soc__soc:firmware", "soc__firmware", "soc@107c000000__soc@107c000000:firmware"],
)
def test_throttled_as_the_kernels_of_raspberry_pis_show_it(roots: Roots, place: str) -> None:
    lay(roots.sys / "devices/platform", **{f"{place}__get_throttled": "50005"})
    assert machine.throttled(roots) == 0x50005


@pytest.mark.parametrize(("alarm", "bits"), [("0", 0), ("1", 0x10000)])
def test_the_voltage_sensor_of_the_kernel(roots: Roots, alarm: str, bits: int) -> None:
    lay(roots.sys / "class/hwmon/hwmon0", name="cpu_thermal")
    lay(roots.sys / "class/hwmon/hwmon1", name="rpi_volt", in0_lcrit_alarm=alarm)
    assert machine.throttled(roots) == bits


def test_other_machines_have_no_such_voltage(roots: Roots) -> None:
    assert machine.throttled(roots) == Absent("not a Raspberry Pi")
    lay(roots.proc / "device-tree", model="Orange Pi\0")
    assert machine.throttled(roots) == Absent("not a Raspberry Pi")


def a_program(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real program that prints what the one of that name would."""
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_a_raspberry_pi_without_the_files_is_asked_by_vcgencmd(
    roots: Roots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(roots.proc / "device-tree", model="Raspberry Pi 4 Model B Rev 1.4\0")
    a_program(tmp_path, "vcgencmd", "exit 255", monkeypatch)
    refused = machine.throttled(roots)
    assert isinstance(refused, Unread)
    assert "usermod -aG video" in refused.reason
    a_program(tmp_path, "vcgencmd", 'echo "throttled=0x50000"', monkeypatch)
    assert machine.throttled(roots) == 0x50000


def test_a_program_that_is_not_there_or_fails_tells_nothing() -> None:
    assert machine.run("no-such-program-anywhere") is None
    assert machine.run("false") is None
    assert machine.run("echo", "yes") == "yes\n"


def test_the_real_time_clock_and_the_clocksource(roots: Roots) -> None:
    assert isinstance(machine.clock_source(roots), Unread)
    assert not machine.has_real_time_clock(roots)
    lay(roots.sys / "devices/system/clocksource/clocksource0", current_clocksource="tsc")
    lay(roots.sys / "class/rtc/rtc0", name="pcf8563")
    assert machine.clock_source(roots) == "tsc"
    assert machine.has_real_time_clock(roots)


def test_the_kernel_tells_how_wrong_the_clock_may_be() -> None:
    told = machine.synchronisation()
    assert isinstance(told, Synchronisation)
    assert told.greatest_error_s >= 0


def test_the_disk_is_really_written_and_left_clean(tmp_path: Path) -> None:
    told = machine.disk_sync(tmp_path, Roots())
    assert isinstance(told, DiskSync)
    assert len(told.times_ms) == 20
    assert min(told.times_ms) > 0
    assert told.filesystem != "unknown"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    told = machine.disk_sync(tmp_path / "gone", Roots())
    assert isinstance(told, Refused)
    assert "cannot write" in told.what


def test_where_an_adapter_is_plugged_in(roots: Roots) -> None:
    for adapter, place in (
        ("hci0", "devices/platform/soc/fe201000.serial/tty/ttyAMA0/hci0"),
        ("hci1", "devices/pci0/usb1/1-1/1-1:1.0/bluetooth/hci1"),
    ):
        (roots.sys / place).mkdir(parents=True)
        (roots.sys / "class/bluetooth").mkdir(parents=True, exist_ok=True)
        (roots.sys / "class/bluetooth" / adapter).symlink_to(roots.sys / place)
    assert not machine.on_usb(roots, "hci0")
    assert machine.on_usb(roots, "hci1")


def test_debugfs_tells_root_of_the_controller(roots: Roots) -> None:
    assert isinstance(machine.controller(roots, "hci0"), Unread)
    folder = roots.sys / "kernel/debug/bluetooth/hci0"
    lay(folder, manufacturer="305", hci_version="9", firmware_info="BCM4345C0 build 0382")
    assert machine.controller(roots, "hci0") == Hardware(
        "manufacturer 305, hci version 9, firmware info BCM4345C0 build 0382", 305
    )
    lay(folder, hci_revision="4478")
    known = machine.controller(roots, "hci0")
    assert isinstance(known, Hardware)
    assert (known.manufacturer, known.revision) == (305, 4478)
    assert "hci revision 4478" in known.told

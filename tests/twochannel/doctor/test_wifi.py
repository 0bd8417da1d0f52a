"""Reading the Wi-Fi; the real iw is asked in the virtual car (tests/car/test_doctor.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from twochannel.doctor.findings import Absent, Unread
from twochannel.doctor.machine import Roots
from twochannel.doctor.readings import Wifi
from twochannel.doctor.wifi import channels_of, read_wifi

_LISTED = """\
phy#1
\tInterface ap0
\t\tifindex 5
\t\ttype AP
phy#0
\tUnnamed/non-netdev interface
\t\twdev 0x2
\t\ttype P2P-device
\tInterface wlan0
\t\tifindex 3
\t\tssid channel 1 (2412 MHz)
\t\ttype managed
\t\tchannel 36 (5180 MHz), width: 80 MHz, center1: 5210 MHz
\t\ttxpower 31.00 dBm
"""


def test_the_channel_of_each_interface() -> None:
    assert channels_of(_LISTED) == {"ap0": None, "wlan0": 5180}
    assert channels_of("") == {}


def iw(folder: Path, power_save: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that answers as iw did."""
    (folder / "listed").write_text(_LISTED)
    program = folder / "iw"
    program.write_text(
        f'#!/bin/sh\n[ "$*" = dev ] && exec cat {folder}/listed\n'
        f'[ "$*" = "dev wlan0 get power_save" ] && {power_save}\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    """As on a Raspberry Pi, but for a second interface."""
    sys = tmp_path / "sys"
    (sys / "bus/sdio/drivers/brcmfmac").mkdir(parents=True)
    for name in ("ap0", "wlan0"):
        (sys / "class/net" / name / "phy80211").mkdir(parents=True)
        (sys / "class/net" / name / "device").mkdir()
        (sys / "class/net" / name / "device/driver").symlink_to(sys / "bus/sdio/drivers/brcmfmac")
    return Roots(tmp_path / "proc", sys)


@pytest.mark.parametrize(
    ("power_save", "expected"),
    [("echo Power save: on", True), ("echo Power save: off", False), ("exit 1", None)],
)
def test_the_connected_interface_is_told(
    roots: Roots,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    power_save: str,
    expected: bool | None,
) -> None:
    iw(tmp_path, power_save, monkeypatch)
    assert read_wifi(roots, bluetooth_on_usb=False) == Wifi("wlan0", 5180, expected, shared=True)
    assert read_wifi(roots, bluetooth_on_usb=True) == Wifi("wlan0", 5180, expected, shared=False)


def test_without_wifi_nothing_is_asked(tmp_path: Path) -> None:
    (tmp_path / "class/net/eth0").mkdir(parents=True)
    nothing = read_wifi(Roots(sys=tmp_path), bluetooth_on_usb=False)
    assert nothing == Absent("no Wi-Fi interface")


def test_an_iw_that_fails_is_told(
    roots: Roots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "iw"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert read_wifi(roots, bluetooth_on_usb=False) == Unread("no iw: sudo apt install iw")

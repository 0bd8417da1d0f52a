"""Reads the Wi-Fi by ``iw``, which tells an ordinary user all that matters here."""

from __future__ import annotations

import re
from typing import Final

from twochannel.doctor import machine
from twochannel.doctor.findings import Absent, Missing, Unread
from twochannel.doctor.machine import Roots
from twochannel.doctor.readings import Wifi

_INTERFACE: Final = re.compile(r"^\tInterface (\S+)$", re.MULTILINE)
_CHANNEL: Final = re.compile(r"^\t\tchannel \d+ \((\d+) MHz\)", re.MULTILINE)
_POWER_SAVE: Final = re.compile(r"Power save: (on|off)")
#: The driver of the Raspberry Pi's chip, whose other half is Bluetooth behind a UART.
_SHARED_DRIVER: Final = "brcmfmac"


def read_wifi(roots: Roots, *, bluetooth_on_usb: bool) -> Wifi | Missing:
    """The Wi-Fi interface; of several, one that is connected."""
    names = [path.parent.name for path in sorted(roots.sys.glob("class/net/*/phy80211"))]
    if not names:
        return Absent("no Wi-Fi interface")
    listed = machine.run("iw", "dev")
    if listed is None:
        return Unread("no iw: sudo apt install iw")
    channels = channels_of(listed)
    name = next((name for name in names if channels.get(name)), names[0])
    told = _POWER_SAVE.search(machine.run("iw", "dev", name, "get", "power_save") or "")
    driver = (roots.sys / "class/net" / name / "device/driver").resolve().name
    return Wifi(
        name,
        channels.get(name),
        power_save=told[1] == "on" if told else None,
        shared=driver == _SHARED_DRIVER and not bluetooth_on_usb,
    )


def channels_of(listed: str) -> dict[str, int | None]:
    """The frequency of each interface in the output of ``iw dev``, MHz; None: not connected."""
    _, *parts = _INTERFACE.split(listed)
    found = {}
    for name, rest in zip(parts[::2], parts[1::2], strict=True):
        channel = _CHANNEL.search(rest)
        found[name] = int(channel[1]) if channel else None
    return found

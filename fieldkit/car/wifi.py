"""The guest's Wi-Fi: simulated radios of the kernel, under the real hostapd and wpa_supplicant.

Who joins needs no more than WPA3 gives: the network's name and passphrase.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fieldkit.car.daemon import Daemon, run
from fieldkit.car.machines import Machine
from fieldkit.process import StageError

_SSID: Final = "cigarjack"
_PASSPHRASE: Final = "correct horse"  # noqa: S105 (of a network that is in one process)
#: Who joins looks here alone; to scan every band takes seconds, emulated.
_CHANNEL_1_MHZ: Final = 2412
#: Scanning, SAE and the four-way handshake, emulated.
_JOIN_DEADLINE_S: Final = 60.0
_PHYS: Final = Path("/sys/class/ieee80211")

_HOSTAPD: Final = f"""\
interface={{interface}}
driver=nl80211
ssid={_SSID}
hw_mode=g
channel=1
wpa=2
wpa_key_mgmt=SAE
rsn_pairwise=CCMP
ieee80211w=2
sae_password={_PASSPHRASE}
ap_isolate={{isolates:d}}
"""
_SUPPLICANT: Final = f"""\
ctrl_interface=/run/wpa_supplicant
network={{
  ssid="{_SSID}"
  scan_freq={_CHANNEL_1_MHZ}
  key_mgmt=SAE
  ieee80211w=2
  sae_password="{_PASSPHRASE}"
}}
"""


class Phy:
    """One radio, on a machine. ``interface``: its network interface there."""

    def __init__(self, folder: Path, machine: Machine) -> None:
        self.machine = machine
        self.interface = next((folder / "device" / "net").iterdir()).name
        self._name = folder.name

    async def give(self) -> None:
        """Take it to its machine."""
        if self.machine.namespace:
            await run("iw", "phy", self._name, "set", "netns", "name", self.machine.namespace)

    async def take_back(self) -> None:
        """A radio that is in use when its namespace goes would go with it."""
        if self.machine.namespace:
            await run(*self.machine.command("iw", "phy", self._name, "set", "netns", "1"))

    async def address(self, address: str, prefix_bits: int) -> None:
        """Be up, with this address and no other."""
        await self.forget_address()
        await self._ip("address", "add", f"{address}/{prefix_bits}", "dev", self.interface)
        await self._ip("link", "set", self.interface, "up")

    async def down(self) -> None:
        """Be off, without an address."""
        await self._ip("link", "set", self.interface, "down")
        await self.forget_address()

    async def forget_address(self) -> None:
        await self._ip("address", "flush", "dev", self.interface)

    async def _ip(self, *arguments: str) -> None:
        await run(*self.machine.command("ip", *arguments))


def phys() -> list[Path]:
    """The radios of this machine, in the order in which they came."""
    return sorted(_PHYS.iterdir(), key=lambda phy: int(phy.name.removeprefix("phy")))


class AccessPoint:
    """hostapd on a radio. ``folder`` gets its configuration and log."""

    def __init__(self, phy: Phy, folder: Path) -> None:
        self._phy = phy
        self._folder = folder
        self._daemon: Daemon | None = None

    async def start(self, *, isolates: bool = False) -> None:
        """On the air when it returns. ``isolates``: stations do not reach each other. StageError"""
        config = self._folder / "hostapd.conf"
        text = _HOSTAPD.format(interface=self._phy.interface, isolates=isolates)
        config.write_text(text, encoding="utf-8")
        line = self._phy.machine.command("hostapd", str(config))
        self._daemon = Daemon(line, self._folder / "hostapd.log")
        await self._daemon.__aenter__()
        await self._daemon.said("AP-ENABLED", _JOIN_DEADLINE_S)

    async def stop(self) -> None:
        daemon, self._daemon = self._daemon, None
        if daemon is not None:
            await daemon.__aexit__()


class Station:
    """wpa_supplicant on a radio. ``folder`` gets its configuration and log."""

    def __init__(self, phy: Phy, folder: Path) -> None:
        self._phy = phy
        config = folder / "wpa_supplicant.conf"
        config.write_text(_SUPPLICANT, encoding="utf-8")
        line = phy.machine.command("wpa_supplicant", "-i", phy.interface, "-c", str(config))
        self._daemon = Daemon(line, folder / f"wpa_supplicant-{phy.machine.name}.log")

    async def start(self) -> None:
        """Joined when it returns. Raises StageError."""
        await self._daemon.__aenter__()
        await self.joined()

    async def joined(self, after: int = 0) -> None:
        """Wait until it has joined, since it had said ``after`` lines. Raises StageError."""
        await self._daemon.said("CTRL-EVENT-CONNECTED", _JOIN_DEADLINE_S, after)

    async def leave(self) -> None:
        """Part from the network in order. Raises StageError."""
        said = self.lines_said
        await self._control("disconnect")
        await self._daemon.said("CTRL-EVENT-DISCONNECTED", _JOIN_DEADLINE_S, said)

    async def join(self) -> None:
        """Undo ``leave``: joined when it returns. Raises StageError."""
        said = self.lines_said
        await self._control("reconnect")
        await self.joined(said)

    async def _control(self, word: str) -> None:
        line = ("wpa_cli", "-i", self._phy.interface, word)
        if (answer := (await run(*self._phy.machine.command(*line))).strip()) != "OK":
            raise StageError(f"wpa_supplicant did not {word}: {answer}")

    @property
    def lines_said(self) -> int:
        return self._daemon.lines_said

    async def stop(self) -> None:
        await self._daemon.__aexit__()

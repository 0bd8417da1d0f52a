"""Four machines in one guest: namespaces of the kernel's network, and what lies between them.

::

    jack ───Wi-Fi─── phone ───┐
    10.77.0.1   10.77.0.2     │ mobile network
                    10.78.0.2 ├─── server   10.78.0.1
    lane ─────────────────────┘
    10.78.0.3

The jack is the guest itself, not a namespace of its own: the kernel gives Bluetooth sockets, by
which adapters are managed, to the first namespace alone (bt_sock_create in
net/bluetooth/af_bluetooth.c). It has no address on the mobile network, as in a car.
D-Bus, and so BlueZ, is the same for all: a machine chooses its adapter by address.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from fieldkit.car.daemon import Daemon, run


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine. ``namespace`` None: the guest itself. Addresses are empty if it has none."""

    name: str
    namespace: str | None
    wifi_address: str = ""
    mobile_address: str = ""

    def command(self, *arguments: str) -> tuple[str, ...]:
        """The command line that runs a program on this machine."""
        prefix = ("ip", "netns", "exec", self.namespace) if self.namespace else ()
        return (*prefix, *arguments)


JACK: Final = Machine("jack", None, wifi_address="10.77.0.1")
PHONE: Final = Machine("phone", "phone", wifi_address="10.77.0.2", mobile_address="10.78.0.2")
LANE: Final = Machine("lane", "lane", mobile_address="10.78.0.3")
SERVER: Final = Machine("server", "server", mobile_address="10.78.0.1")

_NAMESPACES: Final = (PHONE, LANE, SERVER)
_PREFIX_BITS: Final = 24
_SSID: Final = "cigarjack"
_PASSPHRASE: Final = "correct horse"  # noqa: S105 (of a network that is in one process)
#: Scanning, SAE and the four-way handshake, emulated.
_JOIN_DEADLINE_S: Final = 40.0
#: What WPA3 asks of the kernel, beside the radios themselves.
_MODULES: Final = ("veth", "bridge", "ccm", "gcm", "cmac")
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
"""
_SUPPLICANT: Final = f"""\
ctrl_interface=/run/wpa_supplicant
network={{{{
  ssid="{_SSID}"
  key_mgmt=SAE
  ieee80211w=2
  sae_password="{_PASSPHRASE}"
}}}}
"""


class Network:
    """``async with Network(folder)``: the machines, connected. Needs root. StageError.

    ``folder`` gets the configurations and logs of hostapd and wpa_supplicant.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = contextlib.AsyncExitStack()
        self.access_point: Daemon
        self.station: Daemon
        #: The Wi-Fi interfaces of jack and phone.
        self.jack_interface = ""
        self.phone_interface = ""

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as opening:
            await run("modprobe", "--all", *_MODULES)
            for machine in _NAMESPACES:
                await run("ip", "netns", "add", machine.name)
                opening.push_async_callback(run, "ip", "netns", "delete", machine.name)
                await run(*machine.command("ip", "link", "set", "lo", "up"))
            await self._lay_mobile_network()
            await self._start_wifi(opening)
            self._open = opening.pop_all()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._open.aclose()

    async def cut(self, machine: Machine) -> None:
        """Take a machine off the mobile network."""
        await run(*machine.command("ip", "link", "set", "mobile", "down"))

    async def mend(self, machine: Machine) -> None:
        """Undo ``cut``."""
        await run(*machine.command("ip", "link", "set", "mobile", "up"))

    async def _lay_mobile_network(self) -> None:
        """A bridge at the server, which has the network's name on each machine."""
        at_server = SERVER.command
        await run(*at_server("ip", "link", "add", "mobile", "type", "bridge"))
        for machine in (PHONE, LANE):
            here, there = ("mobile", "netns", machine.name), (machine.name, "netns", SERVER.name)
            await run("ip", "link", "add", *here, "type", "veth", "peer", *there)
            await run(*at_server("ip", "link", "set", machine.name, "master", "mobile", "up"))
        for machine in (SERVER, PHONE, LANE):
            await self._address(machine, "mobile", machine.mobile_address)

    async def _start_wifi(self, opening: contextlib.AsyncExitStack) -> None:
        await run("modprobe", "mac80211_hwsim", "radios=2")
        opening.push_async_callback(run, "modprobe", "--remove", "mac80211_hwsim")
        ours, phones = sorted(_PHYS.iterdir(), key=lambda phy: int(phy.name.removeprefix("phy")))
        self.jack_interface, self.phone_interface = _interface(ours), _interface(phones)
        await run("iw", "phy", phones.name, "set", "netns", "name", PHONE.name)
        # A radio that is in use when its namespace goes would go with it.
        opening.push_async_callback(
            run, *PHONE.command("iw", "phy", phones.name, "set", "netns", "1")
        )
        hostapd = self._written("hostapd.conf", _HOSTAPD.format(interface=self.jack_interface))
        self.access_point = await opening.enter_async_context(
            Daemon(JACK.command("hostapd", str(hostapd)), self._folder / "hostapd.log")
        )
        await self.access_point.said("AP-ENABLED", _JOIN_DEADLINE_S)
        await self._address(JACK, self.jack_interface, JACK.wifi_address)
        supplicant = self._written("wpa_supplicant.conf", _SUPPLICANT.format())
        join = ("wpa_supplicant", "-i", self.phone_interface, "-c", str(supplicant))
        self.station = await opening.enter_async_context(
            Daemon(PHONE.command(*join), self._folder / "wpa_supplicant.log")
        )
        await self.station.said("CTRL-EVENT-CONNECTED", _JOIN_DEADLINE_S)
        await self._address(PHONE, self.phone_interface, PHONE.wifi_address)

    def _written(self, name: str, text: str) -> Path:
        file = self._folder / name
        file.write_text(text, encoding="utf-8")
        return file

    async def _address(self, machine: Machine, interface: str, address: str) -> None:
        net = f"{address}/{_PREFIX_BITS}"
        await run(*machine.command("ip", "address", "add", net, "dev", interface))
        await run(*machine.command("ip", "link", "set", interface, "up"))


def _interface(phy: Path) -> str:
    """The network interface of a Wi-Fi radio."""
    return next((phy / "device" / "net").iterdir()).name

"""Machines in one guest: namespaces of the kernel's network, and what lies between them.

::

    jack ───Wi-Fi─── phone ───┐
    10.77.0.1   10.77.0.2     │ mobile network
                    10.78.0.2 ├─── server   10.78.0.1
    lane ─────────────────────┘
    10.78.0.3

The jack is the access point; or, so ``arrange``-d, a house is, 10.77.0.254, and jack and phone have
both joined it. The jack has no address on the mobile network, as in a car. D-Bus, and so BlueZ, is
the same for all: a machine chooses its adapter by address.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final, Self

from fieldkit.car.daemon import run
from fieldkit.car.machines import HOUSE, JACK, LANE, PHONE, SERVER, Machine
from fieldkit.car.wifi import AccessPoint, Phy, Station, phys
from fieldkit.process import StageError

_NAMESPACES: Final = (PHONE, LANE, SERVER, HOUSE)
#: Those that have a radio, in the order in which the radios are given out.
_ON_WIFI: Final = (JACK, PHONE, HOUSE)
_PREFIX_BITS: Final = 24
#: What WPA3 asks of the kernel, beside the radios themselves.
_MODULES: Final = ("veth", "bridge", "ccm", "gcm", "cmac")


class Network:
    """``async with Network(folder)``: the machines, connected. Needs root. StageError.

    ``folder`` gets the configurations and logs of hostapd and wpa_supplicant.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = contextlib.AsyncExitStack()
        self._phys: dict[str, Phy] = {}
        self.access_point: AccessPoint | None = None
        self.stations: dict[str, Station] = {}
        #: The Wi-Fi address of each machine, by name.
        self.addresses: dict[str, str] = {}

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

    # --- the mobile network

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
            net = f"{machine.mobile_address}/{_PREFIX_BITS}"
            await run(*machine.command("ip", "address", "add", net, "dev", "mobile"))
            await run(*machine.command("ip", "link", "set", "mobile", "up"))

    # --- the Wi-Fi

    def wifi(self, machine: Machine) -> Phy:
        """The Wi-Fi radio of a machine."""
        return self._phys[machine.name]

    async def readdress(self, machine: Machine, address: str) -> None:
        """Give a machine another address in the Wi-Fi."""
        self.addresses[machine.name] = address
        await self.wifi(machine).address(address, _PREFIX_BITS)

    async def leave_wifi(self, machine: Machine) -> None:
        """Let a station part from the Wi-Fi, and forget its address, as a phone does."""
        await self.stations[machine.name].leave()
        await self.wifi(machine).forget_address()

    async def join_wifi(self, machine: Machine) -> None:
        """Undo ``leave_wifi``: joined when it returns, with its address. Raises StageError."""
        await self.stations[machine.name].join()
        await self.readdress(machine, self.addresses[machine.name])

    async def restart_access_point(self, *, isolates: bool) -> None:
        """Return when every station has joined again. Raises StageError."""
        if self.access_point is None:
            raise StageError("there is no access point")
        said = {name: station.lines_said for name, station in self.stations.items()}
        await self.access_point.stop()
        await self.access_point.start(isolates=isolates)
        for name, station in self.stations.items():
            await station.joined(said[name])

    async def arrange(self, *, house: bool) -> None:
        """Have the access point in a house, or in the jack; all have joined it. StageError."""
        await self._switch_wifi_off()
        at, *joining = (HOUSE, JACK, PHONE) if house else (JACK, PHONE)
        self.access_point = AccessPoint(self.wifi(at), self._folder)
        await self.access_point.start()
        await self.readdress(at, at.wifi_address)
        for machine in joining:
            station = self.stations[machine.name] = Station(self.wifi(machine), self._folder)
            await station.start()
            await self.readdress(machine, machine.wifi_address)

    async def _switch_wifi_off(self) -> None:
        while self.stations:
            _, station = self.stations.popitem()
            await station.stop()
        if self.access_point is not None:
            await self.access_point.stop()
        for phy in self._phys.values():
            await phy.forget_address()

    async def _start_wifi(self, opening: contextlib.AsyncExitStack) -> None:
        await run("modprobe", "mac80211_hwsim", f"radios={len(_ON_WIFI)}")
        opening.push_async_callback(run, "modprobe", "--remove", "mac80211_hwsim")
        for folder, machine in zip(phys(), _ON_WIFI, strict=True):
            phy = self._phys[machine.name] = Phy(folder, machine)
            await phy.give()
            opening.push_async_callback(phy.take_back)
        opening.push_async_callback(self._switch_wifi_off)
        await self.arrange(house=False)

"""This machine as the ground of a trial: virtual air, and a simulated machine for each agent."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from fieldkit import trace
from fieldkit.cast import CarRole, Cast
from fieldkit.place import LOOPBACK, Here, Place
from fieldkit.stage import SERVER
from fieldkit.trace import TraceFile
from fieldkit.trials.machine import Machine, MachineTrace
from fieldkit.trials.scenario import Scenario
from fieldkit.trials.simulated import Simulated
from fieldkit.venue import Desk
from fieldkit.wifi import Wifi

#: Where jacks listen while relays carry what comes to the address that they announce.
_BEHIND_WIFI: Final = "127.0.0.2"


class MachineHere(Here):
    """A simulated machine as a place for its agent."""

    def __init__(self, folder: Path, address: str, machine: Machine) -> None:
        super().__init__(folder, address, machine.prefix)
        self._machine = machine

    async def trace(self, agent: str) -> TraceFile:
        return MachineTrace(agent, self.folder / agent / trace.FILE_NAME, self._machine)


class ProvingGround(Simulated, Desk):
    """``fieldkit.trials.ground.Ground`` on the desk."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        Simulated.__init__(self, scenario, seed)
        Desk.__init__(self)
        self._places: dict[str, MachineHere] = {}
        self._wifi: dict[str, Wifi] = {}
        self._relays = contextlib.AsyncExitStack()

    async def open(self, cast: Cast, folder: Path) -> None:
        self._folder = folder  # nothing is typed here: a command has the clocks of its machine
        in_cars = [name for car in cast.cars for name in (car.jack.name, car.phone.name)]
        terminals = (terminal.name for terminal in cast.terminals)
        self.simulate((SERVER, *terminals, *in_cars), folder / "machines")
        self._places = {
            agent: MachineHere(folder, LOOPBACK, machine)
            for agent, machine in self.machines.items()
        }
        for car in cast.cars:
            wifi = Wifi(LOOPBACK, _BEHIND_WIFI)
            self._wifi[car.jack.name] = await self._relays.enter_async_context(wifi)

    async def close(self) -> None:
        await self._relays.aclose()
        await super().close()

    def place(self, agent: str) -> Place:
        return self._places[agent]

    def settings(self, agent: str) -> dict[str, str]:
        """What an agent of a paired car is told here beyond what a stage tells it."""
        return dict(self._wifi[agent].jack_settings) if agent in self._wifi else {}

    async def cut_wifi(self, car: CarRole) -> None:
        """Between its jack and its phone."""
        await self._wifi[car.jack.name].cut()

    async def mend_wifi(self, car: CarRole) -> None:
        await self._wifi[car.jack.name].mend()

    async def take_radio(self, car: CarRole) -> None:
        """From its jack."""
        async with self.air() as air:
            await air.unplug(car.jack.name)

    async def give_radio(self, car: CarRole) -> None:
        async with self.air() as air:
            await air.plug(car.jack.name)

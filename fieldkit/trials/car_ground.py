"""The virtual car as the ground of a trial: one car, real BlueZ and Wi-Fi, simulated machines.

Every agent has clocks and a boot id of its own, also those that share a machine of the streets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fieldkit import trace
from fieldkit.car.daemon import run
from fieldkit.car.streets import StationWifi, Streets
from fieldkit.cast import CarRole, Cast
from fieldkit.place import Place
from fieldkit.process import READY_DEADLINE_S, Process
from fieldkit.trace import TraceFile
from fieldkit.trials.machine import Machine, MachineTrace
from fieldkit.trials.scenario import Scenario
from fieldkit.trials.simulated import Simulated


class CarGround(Simulated, Streets):
    """``fieldkit.trials.ground.Ground`` inside the virtual car."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        Simulated.__init__(self, scenario, seed)
        Streets.__init__(self)
        self._wifi: StationWifi
        self._on_machines: dict[str, _OnMachine] = {}

    async def open(self, cast: Cast, folder: Path) -> None:
        await super().open(cast, folder)
        agents = [cast.jack.name, cast.phone.name, *(lane.name for lane in cast.terminals)]
        self.simulate(("server", *agents), folder / "machines")
        lead, patience = self._lead, self.patience
        self._on_machines = {
            agent: _OnMachine(Streets.place(self, agent), lead(agent), machine, patience)
            for agent, machine in self.machines.items()
        }
        self._wifi = StationWifi(self.network)

    def _lead(self, agent: str) -> Sequence[str]:
        """What leads a command line to the network of an agent."""
        return self.machine(agent).command()

    def place(self, agent: str) -> Place:
        return self._on_machines[agent]

    def settings(self, agent: str) -> dict[str, str]:
        return {}

    async def cut_wifi(self, car: CarRole) -> None:
        await self._wifi.cut()

    async def mend_wifi(self, car: CarRole) -> None:
        await self._wifi.mend()

    async def take_radio(self, car: CarRole) -> None:
        """All of bluetoothd, which is one for the whole car."""
        await run("systemctl", "kill", "--signal=KILL", "bluetooth.service")

    async def give_radio(self, car: CarRole) -> None:
        await run("systemctl", "start", "bluetooth.service")


class _OnMachine:
    """A place whose agents are on a simulated machine; its commands are typed as they were.

    ``lead``: what leads a command line to the place.
    """

    def __init__(
        self, place: Place, lead: Sequence[str], machine: Machine, patience: float
    ) -> None:
        self._machine = machine
        self._prefix = (*lead, *machine.prefix)
        self._ready_deadline_s = READY_DEADLINE_S * patience
        self.address, self.folder = place.address, place.folder
        self.command, self.ask, self.read = place.command, place.ask, place.read

    def process(
        self, name: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str]
    ) -> Process:
        return Process(
            *(name, arguments, log, environment),
            prefix=self._prefix,
            ready_deadline_s=self._ready_deadline_s,
        )

    async def trace(self, agent: str) -> TraceFile:
        return MachineTrace(agent, self.folder / agent / trace.FILE_NAME, self._machine)

"""This machine as the place of a trial: virtual air, and a simulated machine for each agent.

``fieldkit.venue.Venue``, as the desk is, but each agent has clocks and a boot id of its own, and
each car a Wi-Fi that can be cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fieldkit import trace
from fieldkit.cast import CarRole, Cast
from fieldkit.place import LOOPBACK, Here, Place
from fieldkit.stage import SERVER, Stage
from fieldkit.trace import TraceFile
from fieldkit.trials.machine import Machine, MachineTrace
from fieldkit.trials.scenario import Scenario
from fieldkit.venue import Desk
from fieldkit.wifi import Wifi

#: Where jacks listen while relays carry what comes to the address that they announce.
_BEHIND_WIFI: Final = "127.0.0.2"
#: How long machines have been up when the trial begins.
_UPTIMES_S: Final = (900.0, 90_000.0)
#: What a Linux machine has been up for when its agents start, about.
_BOOTED_S: Final = 12.0
#: Files that an agent writes without waiting for the disk.
_RINGS: Final = ("*.jsonl", "*.btsnoop")


class MachineHere(Here):
    """A simulated machine as a place for its agent."""

    def __init__(self, folder: Path, address: str, machine: Machine) -> None:
        super().__init__(folder, address, machine.prefix)
        self._machine = machine

    async def trace(self, agent: str) -> TraceFile:
        return MachineTrace(agent, self.folder / agent / trace.FILE_NAME, self._machine)


class ProvingGround(Desk):
    """``seed``: of how long machines have been up."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        super().__init__()
        self.machines: dict[str, Machine] = {}
        self._scenario = scenario
        self._luck = random.Random(f"machines {seed}")
        self._places: dict[str, MachineHere] = {}
        self._wifi: dict[str, Wifi] = {}
        self._relays = contextlib.AsyncExitStack()

    async def open(self, cast: Cast, folder: Path) -> None:
        await super().open(cast, folder)
        jacks = {car.jack.name for car in cast.cars}
        agents = [SERVER, *(terminal.name for terminal in cast.terminals), *jacks]
        for agent in (*agents, *(car.phone.name for car in cast.cars)):
            off_s = self._scenario.clock_off_s(agent)
            uptime_s = self._luck.uniform(*_UPTIMES_S)
            machine = Machine(agent, folder / "machines" / agent, uptime_s, off_s)
            self.machines[agent] = machine
            self._places[agent] = MachineHere(folder, LOOPBACK, machine)
        for jack in jacks:
            wifi = Wifi(LOOPBACK, _BEHIND_WIFI)
            self._wifi[jack] = await self._relays.enter_async_context(wifi)

    async def close(self) -> None:
        await self._relays.aclose()
        await super().close()

    def place(self, agent: str) -> Place:
        return self._places[agent]

    def settings(self, agent: str) -> dict[str, str]:
        """What an agent of a paired car is told here beyond what a stage tells it."""
        return dict(self._wifi[agent].jack_settings) if agent in self._wifi else {}

    # --- what may happen here

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

    async def cut_power(self, stage: Stage, agents: Sequence[str], unsynced_s: float) -> None:
        """Kill agents, whose last ``unsynced_s`` of their rings are not on disk."""
        written = {file: file.stat().st_size for file in self._rings(stage, agents)}
        await asyncio.sleep(unsynced_s)
        await asyncio.gather(*(stage.kill(agent) for agent in agents))
        for file in self._rings(stage, agents):
            if file in written:
                _tear(file, written[file])
        for agent in agents:
            stage.traces[agent] = await self.place(agent).trace(agent)

    def boot(self, agent: str, *, in_1970: bool) -> None:
        """The machine of an agent has its power back."""
        machine = self.machines[agent]
        machine.boot(_BOOTED_S)
        if in_1970:
            machine.set_wall_clock(_BOOTED_S - time.time())

    def _rings(self, stage: Stage, agents: Sequence[str]) -> list[Path]:
        return [
            file for agent in agents for ring in _RINGS for file in stage.state(agent).glob(ring)
        ]


class TrialStage(Stage):
    """A stage on a proving ground."""

    def __init__(self, ground: ProvingGround, *arguments: Any, **named: Any) -> None:
        """Beyond ``ground`` as for a stage."""
        super().__init__(*arguments, venue=ground, **named)
        self._ground = ground

    async def provision(self, closed: Collection[str] = ()) -> None:
        """As on any stage; then each jack goes behind the Wi-Fi that can be cut."""
        await super().provision(closed)
        await asyncio.gather(*map(self._go_behind_wifi, self.cast.cars))

    async def restart(self, agent: str, environment: Mapping[str, str] | None = None) -> None:
        """Start an agent that has ended, where its Wi-Fi can be cut."""
        await super().restart(agent, dict(environment or {}) | self._ground.settings(agent))

    async def _go_behind_wifi(self, car: CarRole) -> None:
        """Not earlier, for a phone remembers where it was paired."""
        stopped_ns = time.monotonic_ns()
        await self.processes[car.jack.name].stop()
        await self.restart(car.jack.name)
        await self.seen(car.phone.name, "jack_found", after_ns=stopped_ns)
        await self.seen(car.jack.name, "beacon_rotated", after_ns=stopped_ns)


def _tear(file: Path, to_bytes: int) -> None:
    """What was written since then is lost; of text, to the end of a line."""
    data = file.read_bytes()
    kept = data[:to_bytes]
    if file.suffix == ".jsonl":
        kept = kept[: kept.rfind(b"\n") + 1]
    with file.open("r+b") as torn:
        torn.truncate(len(kept))

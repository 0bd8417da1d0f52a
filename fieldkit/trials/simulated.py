"""What grounds have in common whose machines are simulated: their clocks, boots and power."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from fieldkit.stage import Stage
from fieldkit.trials import packing
from fieldkit.trials.machine import Machine
from fieldkit.trials.scenario import Scenario

#: How long machines have been up when the trial begins.
_UPTIMES_S: Final = (900.0, 90_000.0)
#: What a Linux machine has been up for when its agents start, about.
_BOOTED_S: Final = 12.0
#: Files that an agent writes without waiting for the disk.
_RINGS: Final = ("*.jsonl", "*.btsnoop")


class Simulated:
    """Machines of this kernel, one for each agent. ``seed``: of how long they have been up."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self._simulated: dict[str, Machine] = {}
        self._scenario = scenario
        self._luck = random.Random(f"machines {seed}")

    @property
    def machines(self) -> Mapping[str, Machine]:
        """By agent."""
        return self._simulated

    def simulate(self, agents: Iterable[str], folder: Path) -> None:
        """Make them; ``folder`` gets what their programs are told."""
        for agent in agents:
            uptime_s = self._luck.uniform(*_UPTIMES_S)
            off_s = self._scenario.clock_off_s(agent)
            self._simulated[agent] = Machine(agent, folder / agent, uptime_s, off_s)

    async def cut_power(self, stage: Stage, agents: Sequence[str], unsynced_s: float) -> None:
        """Kill agents, whose last ``unsynced_s`` of their rings are not on disk."""
        written = {file: file.stat().st_size for file in _rings(stage, agents)}
        await asyncio.sleep(unsynced_s)
        await asyncio.gather(*(stage.kill(agent) for agent in agents))
        for file in _rings(stage, agents):
            if file in written:
                _tear(file, written[file])
        for agent in agents:
            stage.traces[agent] = await stage.venue.place(agent).trace(agent)

    def boot(self, agent: str, *, in_1970: bool) -> None:
        """The machine of an agent has its power back."""
        machine = self._simulated[agent]
        machine.boot(_BOOTED_S)
        if in_1970:
            machine.set_wall_clock(_BOOTED_S - time.time())

    def set_clock(self, machine: str, off_s: float) -> None:
        """Put its wall clock ``off_s`` ahead of the right time."""
        self._simulated[machine].set_wall_clock(off_s)

    async def recordings(self, stage: Stage, agent: str) -> dict[str, bytes]:
        """Every piece of the rings of an agent, by the name of its file."""
        return await asyncio.to_thread(packing.recordings, stage.state(agent))


def _rings(stage: Stage, agents: Sequence[str]) -> list[Path]:
    return [file for agent in agents for ring in _RINGS for file in stage.state(agent).glob(ring)]


def _tear(file: Path, to_bytes: int) -> None:
    """What was written since then is lost; of text, to the end of a line."""
    data = file.read_bytes()
    kept = data[:to_bytes]
    if file.suffix == ".jsonl":
        kept = kept[: kept.rfind(b"\n") + 1]
    with file.open("r+b") as torn:
        torn.truncate(len(kept))

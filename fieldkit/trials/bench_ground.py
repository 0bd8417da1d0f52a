"""Machines over SSH as the ground of a trial: what its bench file lets it do (docs/bench.md)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from fieldkit.cast import CarRole, Cast
from fieldkit.hosts import Bench, Hosts, HostWifi
from fieldkit.process import StageError
from fieldkit.ssh_place import There
from fieldkit.stage import Stage
from fieldkit.trials.machine import Boot
from fieldkit.trials.packing import in_order

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class RealMachine:
    """``boots``: the one in which it was found."""

    name: str
    boots: list[Boot]
    wall_off_s: float = 0.0


class BenchGround(Hosts):
    """``fieldkit.trials.ground.Ground`` on the hosts of a bench, with one car."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.machines: dict[str, RealMachine] = {}
        self._commands = bench.radio

    async def open(self, cast: Cast, folder: Path) -> None:
        await super().open(cast, folder)
        self._jack = cast.jack.name
        for agent, place in self.places.items():
            boot_id = (await place.read(_BOOT_ID)).decode().strip()
            boot = Boot(boot_id, -place.shift_ns, time.monotonic_ns())
            self.machines[agent] = RealMachine(agent, [boot])

    def settings(self, agent: str) -> dict[str, str]:
        return {}

    async def cut_wifi(self, car: CarRole) -> None:
        await self._wifi_of(car).cut()

    async def mend_wifi(self, car: CarRole) -> None:
        await self._wifi_of(car).mend()

    def _wifi_of(self, car: CarRole) -> HostWifi:
        return HostWifi(self.places[car.phone.name], self.bench.wifi)

    async def take_radio(self, car: CarRole) -> None:
        await self.places[car.jack.name].run(self._commands.take)

    async def give_radio(self, car: CarRole) -> None:
        await self.places[car.jack.name].run(self._commands.give)

    async def cut_power(self, stage: Stage, agents: Sequence[str], unsynced_s: float) -> NoReturn:
        raise StageError("nothing on a bench cuts the power")

    def boot(self, agent: str, *, in_1970: bool) -> NoReturn:
        raise StageError("nothing on a bench cuts the power")

    def set_clock(self, machine: str, off_s: float) -> NoReturn:
        raise StageError("the clocks of real machines are set on them")

    async def recordings(self, stage: Stage, agent: str) -> dict[str, bytes]:
        """Every piece of the rings of an agent, by the name of its file."""
        return await recordings(self.places[agent], stage.state(agent))


async def recordings(place: There, state: Path) -> dict[str, bytes]:
    """Of an agent that may go on: one piece after the other, as the rings are ordered."""
    names = (await place.run(("ls", str(state)))).split()
    return {name: await place.read(state / name) for name in in_order(names)}

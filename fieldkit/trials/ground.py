"""Where a trial is played: a venue on which things go wrong when they are told to.

Virtual air on this machine is ``proving_ground``, the virtual car ``car_ground``, and machines over
SSH ``bench_ground``. What each of them cannot do is told by ``shortcomings`` before it begins.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from fieldkit.cast import CarRole
from fieldkit.stage import Stage
from fieldkit.trials.machine import Clocked
from fieldkit.venue import Venue


class Ground(Venue, Protocol):
    """``machines``: of each agent the one on which it runs."""

    @property
    def machines(self) -> Mapping[str, Clocked]: ...

    def settings(self, agent: str) -> dict[str, str]:
        """What an agent of a paired car is told here beyond what a stage tells it."""

    async def cut_wifi(self, car: CarRole) -> None:
        """Between its jack and its phone. Raises StageError, as all of these."""

    async def mend_wifi(self, car: CarRole) -> None: ...

    async def take_radio(self, car: CarRole) -> None:
        """From its jack."""

    async def give_radio(self, car: CarRole) -> None: ...

    async def cut_power(self, stage: Stage, agents: Sequence[str], unsynced_s: float) -> None:
        """Kill agents, whose last ``unsynced_s`` of their rings are not on disk."""

    def boot(self, agent: str, *, in_1970: bool) -> None:
        """The machine of an agent has its power back."""

    def set_clock(self, machine: str, off_s: float) -> None:
        """Put its wall clock ``off_s`` ahead of the right time."""

    async def recordings(self, stage: Stage, agent: str) -> dict[str, bytes]:
        """Every piece of the rings of an agent, by the name of its file."""


class TrialStage(Stage):
    """A stage of a trial, on its ground."""

    def __init__(self, ground: Ground, *arguments: Any, **named: Any) -> None:
        """Beyond ``ground`` as for a stage."""
        super().__init__(*arguments, venue=ground, **named)
        self._ground = ground

    async def provision(self, closed: Collection[str] = ()) -> None:
        """As on any stage; then each jack goes behind the Wi-Fi that can be cut."""
        await super().provision(closed)
        told_more = [car for car in self.cast.cars if self._ground.settings(car.jack.name)]
        await asyncio.gather(*map(self._go_behind_wifi, told_more))

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

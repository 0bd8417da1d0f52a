"""Cars that drive to lanes, stop there while nobody else does, and drive off again."""

from __future__ import annotations

import asyncio
from typing import Final

from fieldkit.journeys import STOPS_AT_M
from fieldkit.process import StageError
from fieldkit.trials import steps
from fieldkit.trials.company import Company

#: Where a second car stops that does not wait for the lane.
_BESIDE_M: Final = 2.0
_LOOK_EVERY_S: Final = 0.05
_OFF_MPS: Final = 10.0


class Driving:
    """Who is where, of a company."""

    def __init__(self, company: Company) -> None:
        self._company = company
        self._at: dict[str, str] = {}
        self._lanes = {lane.name: asyncio.Lock() for lane in company.scenario.lanes}
        self._holds: dict[str, asyncio.Lock] = {}

    def lane(self, car: str) -> str:
        """Where it stands. Raises StageError."""
        try:
            return self._at[car]
        except KeyError:
            raise StageError(f"{car} is at no lane") from None

    async def drive(self, step: steps.Drive) -> None:
        """To the lane, from wherever it is; unless it stops beside another car, once it is free."""
        if step.car in self._at:
            await self._drive_off(step.car, _OFF_MPS)
        if not step.beside:
            await self._lanes[step.to].acquire()
            self._holds[step.car] = self._lanes[step.to]
        x_m, y_m = self._company.stage.cast.terminal(step.to).at_m
        y_m += _BESIDE_M if step.beside else 0.0
        await self._go(step.car, (x_m + STOPS_AT_M, y_m), step.speed_mps)
        self._at[step.car] = step.to
        await self._company.arrived(step.car, step.to)

    async def leave(self, step: steps.Leave) -> None:
        """To where the car is parked. The lane is free once it is there."""
        await self._drive_off(step.car, step.speed_mps)

    async def _drive_off(self, car: str, speed_mps: float) -> None:
        self._at.pop(car, None)
        await self._company.left(car)
        try:
            await self._go(car, self._company.scenario.car(car).parked_m, speed_mps)
        finally:
            if (held := self._holds.pop(car, None)) is not None:
                held.release()

    async def _go(self, car: str, to_m: tuple[float, float], speed_mps: float) -> None:
        stage = self._company.stage
        places = stage.cast.in_car(to_m, self._company.car(car))
        async with stage.air() as air:
            arrives_s = [await air.drive(name, at_m, speed_mps) for name, at_m in places.items()]
            await asyncio.sleep(max(arrives_s))
            # The air's clock decides when it is there.
            while not places.items() <= (await air.positions()).items():  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_EVERY_S)

"""What goes wrong in a trial because its scenario says so, and when it really did."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from fieldkit.stage import SERVER
from fieldkit.trials import steps
from fieldkit.trials.company import Company
from fieldkit.trials.truth import Fault


class Misfortunes:
    """What lasts ends by itself; ``all_over`` waits for that, ``end`` does not."""

    def __init__(self, company: Company) -> None:
        self._company, self._stage, self._ground = company, company.stage, company.ground
        self._truth = company.truth
        self._lasting: set[asyncio.Task[None]] = set()

    async def all_over(self) -> None:
        await asyncio.gather(*self._lasting)

    async def end(self) -> None:
        """Mend everything now."""
        for task in self._lasting:
            task.cancel()
        await asyncio.gather(*self._lasting, return_exceptions=True)

    async def wifi_lost(self, step: steps.WifiLost) -> None:
        car = self._company.car(step.car)
        fault = self._truth.began("wifi_lost", car.phone.name, car=step.car)
        await self._ground.cut_wifi(car)
        self._lasts(fault, step.for_s, lambda: self._ground.mend_wifi(car))

    async def radio_restarted(self, step: steps.RadioRestarted) -> None:
        car = self._company.car(step.car)
        fault = self._truth.began("radio_restarted", car.jack.name, car=step.car)
        await self._ground.take_radio(car)
        self._lasts(fault, step.for_s, lambda: self._ground.give_radio(car))

    def _lasts(self, fault: Fault, for_s: float, mend: Callable[[], Awaitable[None]]) -> None:
        async def lasting() -> None:
            try:
                await asyncio.sleep(for_s)
            finally:
                await mend()
                self._truth.ended(fault)

        self._lasting.add(asyncio.create_task(lasting()))

    async def power_cut(self, step: steps.PowerCut) -> None:
        """Of the whole car. The step is over when its jack is on the air again."""
        car, agents = self._company.car(step.car), self._company.agents(step.car)
        await self._ground.cut_power(self._stage, agents, step.unsynced_s)
        faults = [self._truth.began("power_cut", agent, car=step.car) for agent in agents]
        cut_ns = time.monotonic_ns()
        await asyncio.sleep(step.for_s)
        for agent, fault in zip(agents, faults, strict=True):
            in_1970 = step.jack_in_1970 and agent == car.jack.name
            self._ground.boot(agent, in_1970=in_1970)
            self._truth.ended(fault)
            if in_1970:
                self._truth.began("clock_in_1970", agent, car=step.car)
        await asyncio.gather(*map(self._stage.restart, agents))
        await self._stage.car_ready(car, after_ns=cut_ns)

    async def set_clock(self, step: steps.SetClock) -> None:
        machine = self._ground.machines[step.machine]
        by_ms = round((step.off_s - machine.wall_off_s) * 1000)
        fault = self._truth.began("clock_stepped", step.machine, by_ms=by_ms)
        self._ground.set_clock(step.machine, step.off_s)
        self._truth.ended(fault)

    async def server_restarted(self, step: steps.ServerRestarted) -> None:
        """The step is over when every phone is connected again."""
        fault = self._truth.began("server_restarted", SERVER)
        stopped_ns = time.monotonic_ns()
        await self._stage.processes[SERVER].stop()
        await asyncio.sleep(step.for_s)
        await self._stage.restart(SERVER)
        self._truth.ended(fault)
        for car in self._stage.cast.cars:
            await self._stage.seen(car.phone.name, "server_connected", after_ns=stopped_ns)

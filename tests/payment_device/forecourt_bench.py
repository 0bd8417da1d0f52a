"""A pump beside a terminal in memory: the real simulated pump behind its socket, moved by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from payment_device.dispenser import SocketDispenser
from payment_device.forecourt import Forecourt
from payment_device.fuel import Phase, Price
from payment_device.pump_memory import FILE_NAME, PumpMemory
from payment_device.simulated_pump import SimulatedPump, application
from tests.payment_device.lane import Bench, until
from tests.payment_device.scripted_server import new_id
from twochannel.serving import Address, serve

PRICE = Price.parse("1.799 EUR")


@dataclass
class ForecourtBench:
    forecourt: Forecourt
    pump: SimulatedPump
    memory: PumpMemory
    lane: Bench
    clock_ahead_s: int = 0

    @property
    def phase(self) -> Phase | None:
        fuelling = self.memory.newest()
        return fuelling.phase if fuelling else None

    async def reach(self, phase: Phase) -> None:
        await until(lambda: self.phase is phase)

    async def pumped(self, volume_ml: int) -> None:
        """Fuel runs, a little at a time; until the terminal has counted what came out of it."""
        self.pump.lift()
        self.pump.fuel(volume_ml)
        for _ in range(5):
            self.pump.tick(volume_ml / 5 / self.pump.flow_ml_s)
            await until(self._is_counted)

    def _is_counted(self) -> bool:
        fuelling = self.memory.newest()
        counted_ml = fuelling.start_ml + fuelling.pumped_ml if fuelling else 0
        return counted_ml == self.pump.total_ml


@asynccontextmanager
async def pump_at(state: Path) -> AsyncIterator[SimulatedPump]:
    """A simulated pump with a socket in ``state``; it flows when the test says so."""
    pump = SimulatedPump(state / "counter.json", flow_ml_s=600)
    async with serve(application(pump), Address(socket=state / "pump.sock"), grace_s=0):
        yield pump


@asynccontextmanager
async def forecourt_at(
    lane: Bench,
    pump: SimulatedPump,
    state: Path,
    patience_s: int = 60,
    postpay_on_lift: bool = False,
) -> AsyncIterator[ForecourtBench]:
    """The forecourt of ``lane``, taking its steps; on leaving it is cut off as by a crash."""
    with closing(PumpMemory(state / FILE_NAME, lane.changes.mark)) as memory:
        async with SocketDispenser(state / "pump.sock") as dispenser:
            forecourt = Forecourt(
                lane.terminal,
                lane.radio,
                dispenser,
                memory,
                PRICE,
                lane.changes,
                new_id=new_id,
                now_s=lambda: int(time.monotonic()) + bench.clock_ahead_s,
                patience_s=patience_s,
                postpay_on_lift=postpay_on_lift,
            )
            bench = ForecourtBench(forecourt, pump, memory, lane)
            running = asyncio.create_task(forecourt.run())
            try:
                yield bench
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

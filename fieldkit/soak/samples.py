"""What the agents of a stage hold, looked at again and again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fieldkit.bench import consumption
from fieldkit.soak.growth import Run
from fieldkit.stage import Stage

_PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class Sample:
    """``at_s``: since the soak began. ``process``: another one after each start of the agent."""

    agent: str
    process: int
    at_s: float
    rss_mib: float
    pss_mib: float
    descriptors: int


@dataclass(slots=True)
class Samples:
    """All samples of a soak."""

    began_s: float = field(default_factory=time.monotonic)
    taken: list[Sample] = field(default_factory=list)

    @property
    def agents(self) -> Sequence[str]:
        return list(dict.fromkeys(sample.agent for sample in self.taken))

    def of(self, agent: str) -> list[Sample]:
        return [sample for sample in self.taken if sample.agent == agent]

    def runs(self, agent: str, figure: Callable[[Sample], float]) -> list[Run]:
        """One figure of an agent, process by process."""
        by_process: dict[int, list[tuple[float, float]]] = {}
        for sample in self.of(agent):
            by_process.setdefault(sample.process, []).append((sample.at_s, figure(sample)))
        return list(by_process.values())

    def take(self, stage: Stage) -> None:
        """Of every agent that runs now."""
        at_s = round(time.monotonic() - self.began_s, 1)
        for name in stage.traces:
            process = stage.processes[name]
            # It may end between two looks at it.
            with contextlib.suppress(OSError, ValueError):
                if process.running:
                    memory = consumption.memory(process.pid)
                    count = sum(1 for _ in (_PROC / str(process.pid) / "fd").iterdir())
                    figures = (memory.rss_mib, memory.pss_mib, count)
                    self.taken.append(Sample(name, process.pid, at_s, *figures))

    async def keep_taking(self, stage: Stage, every_s: float) -> None:
        """Until it is cancelled."""
        while True:
            self.take(stage)
            await asyncio.sleep(every_s)

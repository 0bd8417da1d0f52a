"""A simulated machine of this host: clocks and a boot id of its own, which programs on it see.

Its programs are started through ``fieldkit.trials.inside_machine``. The machine knows the truth:
which of its boots began when, by the host's clock, and by how much its wall clock is off.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from fieldkit.trace import TraceEvent, TraceFile
from fieldkit.trials import inside_machine

_PROBE_DEADLINE_S: Final = 60.0
_NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Boot:
    """``shift_ns``: CLOCK_MONOTONIC of the machine minus that of the host."""

    id: str
    shift_ns: int
    began_ns: int


class Clocked(Protocol):
    """A machine of which it is known how its clocks were, real or simulated."""

    @property
    def name(self) -> str: ...

    @property
    def boots(self) -> Sequence[Boot]: ...

    @property
    def wall_off_s(self) -> float:
        """By how much its wall clock is ahead of the host's."""


class Machine:
    """``folder`` gets what its programs are told; it is made. ``uptime_s``: of its first boot."""

    def __init__(self, name: str, folder: Path, uptime_s: float, wall_off_s: float = 0.0) -> None:
        self.name = name
        self.boots: list[Boot] = []
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / inside_machine.WALL).write_bytes(inside_machine.WALL_FORMAT.pack(0))
        self.boot(uptime_s)
        self.set_wall_clock(wall_off_s)

    @property
    def prefix(self) -> Sequence[str]:
        """What leads a command line ``PYTHON -m MODULE …`` onto this machine."""
        return sys.executable, "-m", inside_machine.__name__, str(self._folder)

    @property
    def wall_off_s(self) -> float:
        """By how much its wall clock is ahead of the host's."""
        return float(inside_machine.WALL_FORMAT.unpack(self._wall.read_bytes())[0] / _NS_PER_S)

    def boot(self, uptime_s: float) -> None:
        """Start anew: another boot id, and a monotonic clock that shows ``uptime_s`` now."""
        now_ns = time.monotonic_ns()
        boot = Boot(str(uuid.uuid4()), round(uptime_s * _NS_PER_S) - now_ns, now_ns)
        (self._folder / inside_machine.SHIFT).write_text(str(boot.shift_ns))
        (self._folder / inside_machine.BOOT_ID).write_text(f"{boot.id}\n")
        self.boots.append(boot)

    def set_wall_clock(self, off_s: float) -> None:
        """Put it ``off_s`` ahead of the host's; programs that run see that at once."""
        # Into the very file that they have mapped.
        descriptor = os.open(self._wall, os.O_WRONLY)
        try:
            shift = inside_machine.WALL_FORMAT.pack(round(off_s * _NS_PER_S))
            os.pwrite(descriptor, shift, 0)
        finally:
            os.close(descriptor)

    def host_ns(self, boot: str, mono_ns: int) -> int:
        """CLOCK_MONOTONIC of the host when this machine showed ``mono_ns`` in that boot."""
        shifts_ns = {known.id: known.shift_ns for known in self.boots}
        return mono_ns - shifts_ns.get(boot, self.boots[-1].shift_ns)

    @property
    def _wall(self) -> Path:
        return self._folder / inside_machine.WALL


class MachineTrace(TraceFile):
    """The trace of an agent on a simulated machine, at times of the host's clock."""

    def __init__(self, agent: str, path: Path, machine: Machine) -> None:
        super().__init__(agent, path)
        self._machine = machine

    def _event(self, line: str) -> TraceEvent:
        noted = super()._event(line)
        mono_ns = self._machine.host_ns(noted.boot, noted.mono_ns)
        return TraceEvent(
            agent=noted.agent,
            party=noted.party,
            event=noted.event,
            payment=noted.payment,
            mono_ns=mono_ns,
            wall_ms=noted.wall_ms,
            boot=noted.boot,
            clock=noted.clock,
            fields=noted.fields,
        )


def why_none() -> str:
    """Why this host cannot simulate machines, as a sentence; empty if it can."""
    with tempfile.TemporaryDirectory(prefix="cj-") as name:
        machine = Machine("probe", Path(name), uptime_s=60)
        line = (*machine.prefix, sys.executable, "-m", "platform")
        probed = subprocess.run(
            line, capture_output=True, text=True, timeout=_PROBE_DEADLINE_S, check=False
        )
    return "" if probed.returncode == 0 else (probed.stderr.strip().splitlines() or ["?"])[-1]

"""What a process has used, as the kernel counts it: processor time and memory (proc(5))."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
#: The first two fields of stat are the id and, in brackets, a name that may hold anything.
_USER_FIELD, _SYSTEM_FIELD = 14 - 3, 15 - 3
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_KIB_PER_MIB: Final = 1024


@dataclass(frozen=True, slots=True)
class ProcessorTime:
    """Milliseconds on a processor, of all threads, in steps of one tick (mostly 10 ms)."""

    user_ms: float
    system_ms: float

    @property
    def total_ms(self) -> float:
        return self.user_ms + self.system_ms

    def __sub__(self, earlier: ProcessorTime) -> ProcessorTime:
        return ProcessorTime(self.user_ms - earlier.user_ms, self.system_ms - earlier.system_ms)


@dataclass(frozen=True, slots=True)
class Memory:
    """Mebibytes (2^20 bytes), which top, ps and systemd call M.

    ``rss_mib``: resident, shared pages counted whole, as on a machine that runs this agent alone.
    ``pss_mib``: shared pages divided by the number of processes that share them. ``peak_mib``: the
    highest resident size so far.
    """

    rss_mib: float
    pss_mib: float
    peak_mib: float


def parse_processor_time(stat: str, ticks_per_s: int) -> ProcessorTime:
    """The text of ``/proc/PID/stat``. Raises ValueError if it is not one."""
    fields = stat.rpartition(")")[2].split()
    if len(fields) <= _SYSTEM_FIELD:
        raise ValueError("not the text of a /proc/PID/stat")
    user, system = int(fields[_USER_FIELD]), int(fields[_SYSTEM_FIELD])
    return ProcessorTime(user * 1000 / ticks_per_s, system * 1000 / ticks_per_s)


def parse_memory(smaps_rollup: str, status: str) -> Memory:
    """The texts of ``smaps_rollup`` and ``status``. Raises ValueError if a figure is missing."""
    figures = _kib(smaps_rollup) | {f"status {k}": v for k, v in _kib(status).items()}
    try:
        kib = [figures[name] for name in ("Rss", "Pss", "status VmHWM")]
    except KeyError as missing:
        raise ValueError(f"the kernel does not tell {missing}") from None
    return Memory(*(round(amount / _KIB_PER_MIB, 1) for amount in kib))


def parse_written_bytes(io: str) -> int:
    """The text of ``/proc/PID/io``: bytes sent towards the disk. Raises ValueError."""
    for line in io.splitlines():
        name, _, amount = line.partition(":")
        if name == "write_bytes":
            return int(amount)
    raise ValueError("the kernel does not tell write_bytes")


def _kib(text: str) -> dict[str, int]:
    """The lines that read ``Name:   123 kB``."""
    found = {}
    for line in text.splitlines():
        name, _, amount = line.partition(":")
        words = amount.split()
        if len(words) == 2 and words[1] == "kB":
            found[name] = int(words[0])
    return found


def processor_time(pid: int) -> ProcessorTime:
    """What process ``pid`` has used since it started. Raises OSError if it is gone."""
    return parse_processor_time((_PROC / str(pid) / "stat").read_text(), _TICKS_PER_S)


def memory(pid: int) -> Memory:
    """What process ``pid`` holds now. Raises OSError if it is gone or belongs to another user."""
    own = _PROC / str(pid)
    return parse_memory((own / "smaps_rollup").read_text(), (own / "status").read_text())


def written_bytes(pid: int) -> int:
    """What process ``pid`` has written towards a disk so far. Raises OSError as ``memory``."""
    return parse_written_bytes((_PROC / str(pid) / "io").read_text())

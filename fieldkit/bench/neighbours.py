"""Whoever else used the processors while something was measured: the first cause of bad figures."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: Fields of the first line of /proc/stat (proc(5)) that are no work: idle, iowait; and guest
#: time, which is in user time already. Steal is work: that of other machines on the same host.
_FIELDS: Final = (
    *("user", "nice", "system", "idle", "iowait"),
    *("irq", "softirq", "steal", "guest", "guest_nice"),
)
_NO_WORK: Final = frozenset({"idle", "iowait", "guest", "guest_nice"})
#: Less than this share of a core is the system's own housekeeping.
QUIET_CORES: Final = 0.1


@dataclass(frozen=True, slots=True)
class Usage:
    """Up to a moment: seconds of work of all processors, and of this process with its children.

    Children count once they have ended and were waited for.
    """

    at_s: float
    machine_s: float
    own_s: float


def now() -> Usage:
    """What has been used so far. Raises OSError where there is no /proc."""
    stat = Path("/proc/stat").read_text(encoding="ascii")
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    own_s = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    return Usage(time.monotonic(), parse_work_s(stat, os.sysconf("SC_CLK_TCK")), own_s)


def parse_work_s(stat: str, ticks_per_s: int) -> float:
    """Seconds of work in the text of ``/proc/stat``. Raises ValueError if it is not one."""
    name, *ticks = stat.partition("\n")[0].split()
    if name != "cpu":
        raise ValueError("not the text of a /proc/stat")
    work = (int(t) for field, t in zip(_FIELDS, ticks, strict=False) if field not in _NO_WORK)
    return sum(work) / ticks_per_s


def cores_of_others(before: Usage, after: Usage) -> float:
    """How many cores others used on average between two moments."""
    work_s = (after.machine_s - before.machine_s) - (after.own_s - before.own_s)
    return round(max(0.0, work_s) / (after.at_s - before.at_s), 2)

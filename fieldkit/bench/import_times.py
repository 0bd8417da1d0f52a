"""What a process imported and how long each package took, from ``python -X importtime``. Pure.

A line reads ``import time: SELF | CUMULATIVE | MODULE``, in microseconds. SELF is the time of the
module without what it imports in turn, so sums of SELF add up; those of CUMULATIVE do not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_LINE: Final = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| +(\S+)")
_US_PER_MS: Final = 1000


@dataclass(frozen=True, slots=True)
class PackageImport:
    """A top-level package: how many of its modules were loaded, and in how many milliseconds."""

    package: str
    modules: int
    self_ms: float


def by_package(lines: Iterable[str]) -> list[PackageImport]:
    """The packages in ``lines``, slowest first; lines that are something else are passed over."""
    times: dict[str, list[int]] = {}
    for line in lines:
        if match := _LINE.fullmatch(line.rstrip()):
            package = match[3].partition(".")[0]
            times.setdefault(package, []).append(int(match[1]))
    packages = (
        PackageImport(package, len(own), round(sum(own) / _US_PER_MS, 1))
        for package, own in times.items()
    )
    return sorted(packages, key=lambda found: (-found.self_ms, found.package))

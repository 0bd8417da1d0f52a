"""How well a time is known, for people. Pure."""

from __future__ import annotations

import math
from typing import Final

_NS_PER_MS: Final = 1_000_000
_NS_PER_S: Final = 1_000_000_000
#: Times are told in milliseconds: less than a tenth of one is not told apart.
_LEAST_NS: Final = 100_000


def told_within(ns: float) -> str:
    """An uncertainty, rounded up to two digits; empty where there is none."""
    if not math.isfinite(ns):
        return "unknown"
    if ns == 0:
        return ""
    least_ns = max(math.ceil(ns), _LEAST_NS)
    least_ns = _rounded_up(least_ns, 10 ** (len(str(least_ns)) - 2))
    if least_ns < _NS_PER_S:
        return f"± {least_ns / _NS_PER_MS:g} ms"
    return f"± {_rounded_up(math.ceil(ns), _NS_PER_S // 10) / _NS_PER_S:.1f} s"


def _rounded_up(ns: int, step_ns: int) -> int:
    return -(-ns // step_ns) * step_ns

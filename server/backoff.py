"""How long to wait before somebody is asked or told again. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: An answer lost on the way is found by the first look-up: the waiting terminal hardly notices.
FIRST_DELAY_MS: Final = 250
#: A processor that is down for hours is not asked more often than this.
LONGEST_DELAY_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Patience:
    """Bounds of a wait that doubles."""

    first_ms: int
    longest_ms: int


PROCESSOR: Final = Patience(FIRST_DELAY_MS, LONGEST_DELAY_MS)
#: A merchant's server that restarts is back in seconds, one that is broken in hours.
WEBHOOK: Final = Patience(5_000, 6 * 3_600_000)


def delay_ms(attempts: int, jitter: float, patience: Patience = PROCESSOR) -> int:
    """Milliseconds before the next try after ``attempts`` vain ones: doubling, with jitter.

    ``jitter`` in [0, 1) takes away up to half, so that many do not come at once.
    """
    if not 0 <= jitter < 1:
        raise ValueError(f"jitter lies in [0, 1), not {jitter}")
    doubled = patience.first_ms << min(max(attempts - 1, 0), 16)
    return round(min(doubled, patience.longest_ms) * (1 - jitter / 2))

"""How long to wait before the processor is asked again. Pure."""

from __future__ import annotations

from typing import Final

#: An answer lost on the way is found by the first look-up: the waiting terminal hardly notices.
FIRST_DELAY_MS: Final = 250
#: A processor that is down for hours is not asked more often than this.
LONGEST_DELAY_MS: Final = 60_000


def delay_ms(attempts: int, jitter: float) -> int:
    """Milliseconds before the next try after ``attempts`` vain ones: doubling, with jitter.

    ``jitter`` in [0, 1) takes away up to half, so that many payments do not ask at once.
    """
    if not 0 <= jitter < 1:
        raise ValueError(f"jitter lies in [0, 1), not {jitter}")
    doubled = FIRST_DELAY_MS << min(max(attempts - 1, 0), 16)
    return round(min(doubled, LONGEST_DELAY_MS) * (1 - jitter / 2))

"""What a share that was counted says of the true one: Wilson's 95 % interval. Pure.

Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927;
R. G. Newcombe, "Interval estimation for the difference between independent proportions", 1998,
method 10. Few formulas, for which no library of that weight is needed on a desk.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

_NINETY_FIVE: Final = NormalDist().inv_cdf(0.975)


def wilson(events: int, trials: int) -> tuple[float, float]:
    """Least and most that the true share hardly leaves; 0 and 1 if nothing was tried."""
    if not trials:
        return 0.0, 1.0
    share, z2 = events / trials, _NINETY_FIVE**2
    middle = share + z2 / (2 * trials)
    half = _NINETY_FIVE * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    low, high = (middle - half) / (1 + z2 / trials), (middle + half) / (1 + z2 / trials)
    # Of none and of all the ends are exact; rounding must not say otherwise.
    return (0.0 if events == 0 else low), (1.0 if events == trials else high)


def difference(one: tuple[int, int], other: tuple[int, int]) -> tuple[float, float]:
    """Least and most by which the share of ``one`` is above that of ``other``; (events, trials)."""
    if not one[1] or not other[1]:
        return -1.0, 1.0
    p, q = one[0] / one[1], other[0] / other[1]
    (p_low, p_high), (q_low, q_high) = wilson(*one), wilson(*other)
    return (
        p - q - math.hypot(p - p_low, q_high - q),
        p - q + math.hypot(p_high - p, q - q_low),
    )

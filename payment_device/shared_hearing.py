"""What the lanes next to this one hear, for ``Sightings.choose``. Pure: time is an argument.

Each lane tells its neighbours, several times a second, how many dB above its own threshold it
hears each code (``Sightings.told_to_neighbours``). Above its own threshold, for lanes have unlike
antennas and places: where each has been calibrated, equal figures mean equally near.

A neighbour that has not told anything for ``FRESH_S`` counts for nothing: a lane then decides by
itself, as if it shared with nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: As long as a jack may be silent before it is out of the running (``LaneRules.quiet_after_s``).
FRESH_S: Final = 1.0


class SharedHearing:
    """The last word of each neighbour."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[float, Mapping[bytes, float]]] = {}

    def take(self, lane: str, heard_db: Mapping[bytes, float], now_s: float) -> None:
        """What ``lane`` hears at monotonic ``now_s``, in dB above its threshold."""
        self._told[lane] = (now_s, heard_db)

    def lanes(self, now_s: float) -> int:
        """How many count at monotonic ``now_s``."""
        return sum(now_s - told_at_s <= FRESH_S for told_at_s, _ in self._told.values())

    def elsewhere(self, now_s: float) -> dict[bytes, float]:
        """By code, how well the neighbour hears it that hears it best."""
        best: dict[bytes, float] = {}
        for told_at_s, heard_db in self._told.values():
            if now_s - told_at_s > FRESH_S:
                continue
            for code, level_db in heard_db.items():
                if level_db > best.get(code, level_db - 1):
                    best[code] = level_db
        return best

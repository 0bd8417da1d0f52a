"""PURE. How well a radio hears, summed up from one look to the next.

Counted are adverts with service data, which is what agents listen to. A quiet place and a deaf
radio look the same here.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

#: Bluetooth's word for a level that the controller does not know is 127.
_MAX_RSSI_DBM: Final = 20


@dataclass(frozen=True, slots=True)
class Heard:
    """From the look before to this one.

    ``last_advert_ms``: how long ago an advert was heard; None: none ever. ``rssi_levels``: how many
    different levels there were, ``rssi_step_db``: the least between two of them; coarse ones show
    that something between controller and agent rounds or merges. ``blind_ms``: the longest time
    without an advert.
    """

    adverts_per_s: float
    last_advert_ms: int | None
    rssi_levels: int
    rssi_step_db: int | None
    blind_ms: int


class Hearing:
    """Times: CLOCK_MONOTONIC seconds. ``adverts``: all so far; ``last_at_s``: of the last."""

    def __init__(self, now_s: float) -> None:
        self.adverts = 0
        self.last_at_s: float | None = None
        self._began_s = now_s
        self._adverts_before = 0
        self._quiet_from_s = now_s
        self._blind_s = 0.0
        self._levels: set[int] = set()

    def heard(self, rssi_dbm: int, at_s: float) -> None:
        """One advert."""
        self.adverts += 1
        self.last_at_s = at_s
        self._blind_s = max(self._blind_s, at_s - self._quiet_from_s)
        self._quiet_from_s = max(self._quiet_from_s, at_s)
        if rssi_dbm <= _MAX_RSSI_DBM:
            self._levels.add(rssi_dbm)

    def summed(self, now_s: float) -> Heard:
        """What was heard since the last call, which begins anew with this one."""
        seconds = max(now_s - self._began_s, 0.001)
        last_s = self.last_at_s
        levels = sorted(self._levels)
        heard = Heard(
            adverts_per_s=round((self.adverts - self._adverts_before) / seconds, 1),
            last_advert_ms=None if last_s is None else round((now_s - last_s) * 1000),
            rssi_levels=len(levels),
            rssi_step_db=min((b - a for a, b in pairwise(levels)), default=None),
            blind_ms=round(max(self._blind_s, now_s - self._quiet_from_s) * 1000),
        )
        self._began_s, self._adverts_before = now_s, self.adverts
        self._quiet_from_s, self._blind_s = now_s, 0.0
        self._levels.clear()
        return heard

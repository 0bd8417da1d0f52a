"""What the lane decision has to beat: the two ways in which it is usually done. Pure."""

from __future__ import annotations

from typing import Final

#: As the real decision: whoever was not heard for a second is gone.
_GONE_S: Final = 1.0
#: The same weight as the real decision gives to a median, here given to single adverts.
_EWMA_WEIGHT: Final = 0.3


class Plain:
    """Keeps the last level and a plain EWMA of each code; the strongest wins at once."""

    def __init__(self, threshold_dbm: float) -> None:
        self._threshold_dbm = threshold_dbm
        self._last: dict[int, tuple[float, int]] = {}
        self._ewma: dict[int, float] = {}

    def hear(self, code: int, rssi_dbm: int, heard_at_s: float) -> None:
        """One advert."""
        last = self._last.get(code)
        self._last[code] = (heard_at_s, rssi_dbm)
        if last is None or heard_at_s - last[0] > _GONE_S:
            self._ewma[code] = rssi_dbm
        else:
            self._ewma[code] += _EWMA_WEIGHT * (rssi_dbm - self._ewma[code])

    def strongest_last(self, now_s: float) -> int | None:
        """Whoever's last advert was the strongest."""
        here = [(rssi_dbm, code) for code, (at_s, rssi_dbm) in self._present(now_s)]
        return max(here)[1] if here else None

    def strongest_average(self, now_s: float) -> int | None:
        """Whoever's average is the highest, if it reaches the threshold."""
        here = [(self._ewma[code], code) for code, _ in self._present(now_s)]
        level_dbm, code = max(here, default=(self._threshold_dbm - 1, -1))
        return code if level_dbm >= self._threshold_dbm else None

    def _present(self, now_s: float) -> list[tuple[int, tuple[float, int]]]:
        return [item for item in self._last.items() if now_s - item[1][0] <= _GONE_S]

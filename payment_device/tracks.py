"""One code as a lane hears it: its level, how steady it is, and whether two radios send it. Pure.

The level is the median of the last adverts, which throws out single fades, smoothed by an EWMA,
which follows a car that moves. For about two seconds a track also remembers between which bounds
its level was, in slots of a tenth of a second: however fast adverts come, memory stays small.
"""

from __future__ import annotations

from collections import deque
from typing import Final

#: Adverts in the median: up to three fades among them do no harm.
_MEDIAN_SAMPLES: Final = 7
#: Weight of the newest median: with 100 ms adverts a step is followed by two thirds in 0.3 s.
_EWMA_WEIGHT: Final = 0.3
_SLOT_S: Final = 0.1
_SLOTS: Final = 20
#: A jack sends every 100 ms and a random 0 to 10 ms more (docs/protocol.md): 10 in a second at
#: most. Adverts held up in a queue come in bunches, hence the room above.
_MOST_ADVERTS_IN_SLOTS: Final = 30
#: Fewer slots than this say nothing about a rate: one bunch would look like a second radio.
_SLOTS_FOR_A_RATE: Final = 18


class _Slot:
    """A tenth of a second: the bounds of the level in it, and how many adverts came."""

    __slots__ = ("adverts", "highest_dbm", "lowest_dbm", "number")

    def __init__(self, number: int, level_dbm: float) -> None:
        self.number = number
        self.lowest_dbm = self.highest_dbm = level_dbm
        self.adverts = 1


class Track:
    """One code: its level in dBm, and since when it has been heard without a gap."""

    __slots__ = ("_slots", "_window", "code", "last_s", "level_dbm", "samples", "since_s")

    def __init__(self, code: bytes, rssi_dbm: int, heard_at_s: float) -> None:
        self._window: deque[int] = deque((rssi_dbm,), maxlen=_MEDIAN_SAMPLES)
        self._slots: deque[_Slot] = deque((_Slot(0, rssi_dbm),), maxlen=_SLOTS)
        self.code = code
        self.level_dbm = float(rssi_dbm)
        self.since_s = self.last_s = heard_at_s
        self.samples = 1

    def hear(self, rssi_dbm: int, heard_at_s: float) -> None:
        """One more advert, not older than the one before."""
        window = self._window
        window.append(rssi_dbm)
        median = sorted(window)[len(window) // 2]
        self.level_dbm += _EWMA_WEIGHT * (median - self.level_dbm)
        if heard_at_s > self.last_s:
            self.last_s = heard_at_s
        self.samples += 1
        self._note(self._slot_at(heard_at_s))

    def lowest_dbm(self, since_s: float) -> float:
        """The lowest level since then, as far as it is remembered."""
        first = self._slot_at(since_s)
        recent = [slot.lowest_dbm for slot in self._slots if slot.number >= first]
        return min(recent, default=self.level_dbm)

    def highest_dbm(self, since_s: float) -> float:
        """The highest level since then, as far as it is remembered."""
        first = self._slot_at(since_s)
        recent = [slot.highest_dbm for slot in self._slots if slot.number >= first]
        return max(recent, default=self.level_dbm)

    @property
    def sent_twice(self) -> bool:
        """Whether more adverts came in the last two seconds than one jack sends."""
        if self.samples <= _MOST_ADVERTS_IN_SLOTS:
            return False
        newest = self._slots[-1].number
        recent = [slot for slot in self._slots if slot.number > newest - _SLOTS]
        spread = newest - recent[0].number >= _SLOTS_FOR_A_RATE
        return spread and sum(slot.adverts for slot in recent) > _MOST_ADVERTS_IN_SLOTS

    def _slot_at(self, at_s: float) -> int:
        # Counted from the track's own beginning, so that the origin of time plays no part.
        return int((at_s - self.since_s) / _SLOT_S)

    def _note(self, number: int) -> None:
        newest = self._slots[-1]
        if newest.number >= number:
            newest.lowest_dbm = min(newest.lowest_dbm, self.level_dbm)
            newest.highest_dbm = max(newest.highest_dbm, self.level_dbm)
            newest.adverts += 1
        else:
            self._slots.append(_Slot(number, self.level_dbm))

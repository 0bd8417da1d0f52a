"""Which jack is at this lane: one, none, or ambiguous, with the reason. Pure: time is an argument.

Each code on the air has a *track*. Its level is the median of the last adverts, which throws out
single fades, smoothed by an EWMA, which follows a car that moves. A jack is chosen when it

- was heard within ``quiet_after_s``: what is stale never wins;
- is settled: heard ``settle_samples`` times over at least ``settle_s`` without a quiet gap;
- has a level of at least ``min_rssi_dbm``;
- leads by ``margin_db`` over every other jack that is heard. Rivals need not be settled: a rival
  counts from its first advert, for charging the wrong car is worse than asking again.

Settling is counted from a track's own first advert, not from the moment of the question. A car
that has stood at the lane for a second is chosen without any delay.

**Change-over.** All jacks change their codes at the same moment, and a new code is a new track:
nothing in an advert links it to the old one. The old track has just fallen silent, still at a high
level. Until it is quiet it stands beside its own successor, and the answer is ambiguous; from then
on it is out of the running. A change-over so delays a choice by at most ``quiet_after_s``, once in
the life of a code. To drop the old track sooner would mean to guess that it was replaced: a second
car whose adverts are lost for a moment looks just the same.

Memory is bounded by ``MAX_TRACKS``. When a jack that might have been near had to be forgotten,
the answer is ambiguous (``crowded``) until it would have become quiet.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

#: Jacks in radio range of one lane: a full car park during a change-over.
MAX_TRACKS: Final = 256
#: How many tracks make room at once when that is too few: one sort for many newcomers.
_DROPPED_AT_ONCE: Final = MAX_TRACKS // 4
#: Adverts in the median: up to three fades among them do no harm.
_MEDIAN_SAMPLES: Final = 7
#: Weight of the newest median: with 100 ms adverts a step is followed by two thirds in 0.3 s.
_EWMA_WEIGHT: Final = 0.3
#: How long a track that has fallen silent is still shown, and told apart from "none heard".
FORGET_AFTER_S: Final = 10.0
#: What a controller may report (Core specification, Vol 4 Part E section 7.7.65.2); 127 dBm stands
#: for "not available".
MAX_RSSI_DBM: Final = 20
#: Hex digits of a code that people see: enough to tell jacks apart, not enough to replay one.
_HANDLE_DIGITS: Final = 4


@dataclass(frozen=True, slots=True)
class LaneRules:
    """When a jack is at this lane. Values without meaning are a ValueError.

    ``min_rssi_dbm``: 0 dBm from behind a windscreen arrive with about -69 at 3 m; bodies and metal
    take up to 10 dB more. ``margin_db``: twice the spread of RSSI in the open (4 to 6 dB) after
    smoothing. ``quiet_after_s``: ten adverts of a jack; losing all of them by chance is rarer than
    1 in 1000 even at 50 % loss. ``settle_s``: five adverts, in which a nearer jack is heard too.
    """

    min_rssi_dbm: float = -80.0
    margin_db: float = 8.0
    quiet_after_s: float = 1.0
    settle_samples: int = 5
    settle_s: float = 0.5

    def __post_init__(self) -> None:
        if self.margin_db < 0:
            raise ValueError("margin_db must not be negative")
        if not 0 <= self.settle_s < self.quiet_after_s:
            raise ValueError("settle_s must be at least 0 and less than quiet_after_s")
        if self.settle_samples < 1:
            raise ValueError("settle_samples must be at least 1")


class Absence(StrEnum):
    """Why no jack is at the lane, in the order in which they are looked for."""

    NONE_HEARD = "none_heard"
    STALE = "stale"
    TOO_WEAK = "too_weak"
    SETTLING = "settling"


class Ambiguity(StrEnum):
    """Why several jacks may be meant."""

    CROWDED = "crowded"
    EQUALLY_NEAR = "equally_near"
    SAME_HANDLE = "same_handle"


@dataclass(frozen=True, slots=True)
class Nearby:
    """One jack as it is heard. ``rssi_dbm``: its smoothed level. ``quiet``: it cannot be chosen."""

    code: bytes = field(repr=False)
    rssi_dbm: int
    heard_at_s: float
    quiet: bool

    @property
    def handle(self) -> str:
        return handle_of(self.code)


@dataclass(frozen=True, slots=True)
class Chosen:
    """This jack is at the lane. ``others``: how many more are heard."""

    jack: Nearby
    others: int


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Any of ``candidates``, strongest first, may be meant."""

    candidates: tuple[Nearby, ...]
    reason: Ambiguity


@dataclass(frozen=True, slots=True)
class NoJack:
    """No jack is at the lane."""

    reason: Absence


Choice = Chosen | Ambiguous | NoJack


def handle_of(code: bytes) -> str:
    """The short name by which people are told of a code. It is never enough to replay it."""
    return code.hex()[:_HANDLE_DIGITS]


class _Track:
    """One code: its last adverts, its level in dBm, and since when it is heard without a gap."""

    __slots__ = ("_window", "code", "last_s", "level_dbm", "samples", "since_s")

    def __init__(self, code: bytes, rssi_dbm: int, heard_at_s: float) -> None:
        self._window: deque[int] = deque((rssi_dbm,), maxlen=_MEDIAN_SAMPLES)
        self.code = code
        self.level_dbm = float(rssi_dbm)
        self.since_s = self.last_s = heard_at_s
        self.samples = 1

    def hear(self, rssi_dbm: int, heard_at_s: float) -> None:
        self._window.append(rssi_dbm)
        median = sorted(self._window)[len(self._window) // 2]
        self.level_dbm += _EWMA_WEIGHT * (median - self.level_dbm)
        self.last_s = max(self.last_s, heard_at_s)
        self.samples += 1


class Sightings:
    """What a lane hears. Feed it with ``hear``, oldest advert first; then ask."""

    def __init__(self, rules: LaneRules) -> None:
        self._rules = rules
        self._tracks: dict[bytes, _Track] = {}
        self._crowded_until_s = float("-inf")

    def hear(self, code: bytes, rssi_dbm: int, heard_at_s: float) -> None:
        """Take in one advert of a jack, heard at monotonic ``heard_at_s``.

        One without a level says nothing about nearness and is passed over.
        """
        if rssi_dbm > MAX_RSSI_DBM:
            return
        track = self._tracks.get(code)
        if track is not None and not self._is_quiet(track, heard_at_s):
            track.hear(rssi_dbm, heard_at_s)
            return
        if track is None and len(self._tracks) >= MAX_TRACKS:
            self._make_room(heard_at_s)
        # After a quiet gap the old level may be that of another place: begin anew.
        self._tracks[code] = _Track(code, rssi_dbm, heard_at_s)

    def nearby(self, now_s: float) -> tuple[Nearby, ...]:
        """All jacks of the last ``FORGET_AFTER_S``, strongest first, quiet ones at the end."""
        return self._shown(self._remembered(now_s), now_s)

    def choose(self, now_s: float) -> Choice:
        """The jack at this lane at monotonic ``now_s``."""
        remembered = self._remembered(now_s)
        heard = [track for track in remembered if not self._is_quiet(track, now_s)]
        if not heard:
            return NoJack(Absence.STALE if remembered else Absence.NONE_HEARD)
        leader = heard[0]
        if leader.level_dbm < self._rules.min_rssi_dbm:
            return NoJack(Absence.TOO_WEAK)
        near = [t for t in heard if leader.level_dbm - t.level_dbm < self._rules.margin_db]
        if now_s < self._crowded_until_s:
            return Ambiguous(self._shown(near, now_s), Ambiguity.CROWDED)
        if len(near) > 1:
            return Ambiguous(self._shown(near, now_s), Ambiguity.EQUALLY_NEAR)
        if not self._is_settled(leader):
            return NoJack(Absence.SETTLING)
        return Chosen(self._seen(leader, now_s), others=len(heard) - 1)

    def pick(self, handle: str, now_s: float) -> Choice:
        """The jack that the attendant means, however near: it only has to be heard."""
        heard = [t for t in self._remembered(now_s) if not self._is_quiet(t, now_s)]
        meant = [track for track in heard if handle_of(track.code) == handle]
        if not meant:
            return NoJack(Absence.NONE_HEARD)
        if len(meant) > 1:
            return Ambiguous(self._shown(meant, now_s), Ambiguity.SAME_HANDLE)
        return Chosen(self._seen(meant[0], now_s), others=len(heard) - 1)

    def _make_room(self, now_s: float) -> None:
        """Forget the quiet tracks first, then newcomers, then the weakest."""

        def worth(track: _Track) -> tuple[bool, bool, float]:
            quiet, settled = self._is_quiet(track, now_s), self._is_settled(track)
            return not quiet, settled, track.level_dbm

        for track in sorted(self._tracks.values(), key=worth)[:_DROPPED_AT_ONCE]:
            if not self._is_quiet(track, now_s) and self._may_be_near(track):
                self._crowded_until_s = now_s + self._rules.quiet_after_s
            del self._tracks[track.code]

    def _may_be_near(self, track: _Track) -> bool:
        """Whether it could stand in the way of the weakest jack that may be chosen."""
        return track.level_dbm > self._rules.min_rssi_dbm - self._rules.margin_db

    def _is_quiet(self, track: _Track, now_s: float) -> bool:
        return now_s - track.last_s > self._rules.quiet_after_s

    def _is_settled(self, track: _Track) -> bool:
        enough = track.samples >= self._rules.settle_samples
        return enough and track.last_s - track.since_s >= self._rules.settle_s

    def _remembered(self, now_s: float) -> list[_Track]:
        """Strongest first; equal ones in the order of their codes, whoever was heard first."""
        recent = (t for t in self._tracks.values() if now_s - t.last_s <= FORGET_AFTER_S)
        return sorted(recent, key=lambda t: (-t.level_dbm, t.code))

    def _shown(self, tracks: list[_Track], now_s: float) -> tuple[Nearby, ...]:
        seen = (self._seen(track, now_s) for track in tracks)
        return tuple(sorted(seen, key=lambda jack: jack.quiet))

    def _seen(self, track: _Track, now_s: float) -> Nearby:
        quiet = self._is_quiet(track, now_s)
        return Nearby(track.code, round(track.level_dbm), track.last_s, quiet)

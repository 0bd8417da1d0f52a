"""Which jack is at this lane: one, none, or ambiguous, with the reason. Pure: time is an argument.

Each code on the air has a *track* (``payment_device.tracks``) with a smoothed level. A jack is
chosen when it

- was heard within ``quiet_after_s``: what is stale never wins;
- is settled: heard ``settle_samples`` times over at least ``settle_s`` without a quiet gap;
- has a level of at least ``min_rssi_dbm``;
- has not lost ``_LEAVING_DB`` within two seconds: who does that drives away;
- has led by ``margin_db`` over every other jack for the whole of ``settle_s``: its lowest level
  against the highest of the others. Rivals need not be settled: a rival counts from its first
  advert, for charging the wrong car is worse than asking again;
- is sent by one radio. A code that comes more often than a jack sends it is replayed.

Settling is counted from a track's own first advert, not from the moment of the question. A car
that has stood at the lane for a second is chosen without any delay.

**Lanes next to each other** (``payment_device.shared_hearing``) tell each other how far above
their own thresholds they hear each code. How much better this lane hears a jack than any other
lane does is its *home lead*. With it

- the leader is the jack with the largest home lead among those that are near enough, and two jacks
  are compared by their home leads: four levels tell apart two cars instead of two, and what is
  peculiar to a car (transmit power, windscreen, passengers) cancels out. The sum of two leads
  spreads more than one, so that it has to be ``margin_db`` times the square root of two;
- a jack that is not near enough by itself is compared by its level here alone, and one that is
  louder here than the leader by the margin stays a rival: nobody can take a jack away from its
  lane by sending its code at another;
- the home lead has to be ``home_margin_db``. Between that and its negative the jack is ambiguous,
  below it is at another lane, though no other jack is heard here.

**Change-over.** A jack that changes its code is a new track: nothing in an advert links it to the
old one, and nothing here does. The old track has just fallen silent, still at a high level. When
as many codes have appeared as have fallen silent within that moment, none of them weaker by more
than ``_ALIKE_DB``, those that fell silent are out of the running at once; which of them became
which is never asked. If fewer have appeared, a car may be there whose adverts are lost for a
moment, and the answer is ambiguous until the old track is quiet.

Memory is bounded by ``MAX_TRACKS``. When a jack that might have been near had to be forgotten,
the answer is ambiguous (``crowded``) until it would have become quiet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from payment_device.tracks import Track

#: Jacks in radio range of one lane: a full car park during a change-over.
MAX_TRACKS: Final = 256
#: How many tracks make room at once when that is too few: one sort for many newcomers.
_DROPPED_AT_ONCE: Final = MAX_TRACKS // 4
#: Three adverts of a jack: whoever misses them has changed its code, or is lost for a moment.
_SILENT_AFTER_S: Final = 0.35
#: Who has lost so much within so long drives away: from 4 to 10 m in two seconds are 8 dB.
_LEAVING_S: Final = 2.0
_LEAVING_DB: Final = 6.0
#: How far apart old and new code of one jack may be heard: the spread of one advert (4 to 6 dB).
_ALIKE_DB: Final = 6.0
#: How long a track that has fallen silent is still shown, and told apart from "none heard".
FORGET_AFTER_S: Final = 10.0
#: What a controller may report (Core specification, Vol 4 Part E section 7.7.65.2); 127 dBm stands
#: for "not available".
MAX_RSSI_DBM: Final = 20
#: Hex digits of a code that people see: enough to tell jacks apart, not enough to replay one.
_HANDLE_DIGITS: Final = 4
#: What lanes that do not hear a code at all hear of it, in dB above their thresholds: about what
#: a receiver needs (-95 dBm).
UNHEARD_DB: Final = -20.0
#: The sum of two independent leads spreads by so much more than one of them.
_TWO_LEADS: Final = 2**0.5
#: What other lanes hear, for a lane that shares with nobody.
NOWHERE_ELSE: Final[Mapping[bytes, float]] = {}


@dataclass(frozen=True, slots=True)
class LaneRules:
    """When a jack is at this lane. Values without meaning are a ValueError.

    Before a lane is calibrated (``payment-device calibrate``), ``min_rssi_dbm``: 0 dBm from behind
    a windscreen arrive with about -65 at 2 m; bodies, metal and angle take up to 10 dB more.
    ``margin_db``: at 12 dB about 1 in 1000 customers with a jack have another car's chosen
    (docs/lane-decision.md). ``quiet_after_s``: ten adverts of a jack; losing all of them by chance
    is rarer than 1 in 1000 even at 50 % loss. ``settle_s``: five adverts, in which a nearer jack
    is heard too. ``home_margin_db``: among lanes that share what they hear.
    """

    min_rssi_dbm: float = -75.0
    margin_db: float = 12.0
    quiet_after_s: float = 1.0
    settle_samples: int = 5
    settle_s: float = 0.5
    home_margin_db: float = 6.0

    def __post_init__(self) -> None:
        if self.margin_db < 0 or self.home_margin_db < 0:
            raise ValueError("margin_db and home_margin_db must not be negative")
        if not 0 <= self.settle_s < self.quiet_after_s:
            raise ValueError("settle_s must be at least 0 and less than quiet_after_s")
        if self.settle_samples < 1:
            raise ValueError("settle_samples must be at least 1")


class Absence(StrEnum):
    """Why no jack is at the lane, in the order in which they are looked for."""

    NONE_HEARD = "none_heard"
    STALE = "stale"
    TOO_WEAK = "too_weak"
    AT_ANOTHER_LANE = "at_another_lane"
    SETTLING = "settling"
    LEAVING = "leaving"


class Ambiguity(StrEnum):
    """Why several jacks may be meant."""

    CROWDED = "crowded"
    EQUALLY_NEAR = "equally_near"
    SENT_TWICE = "sent_twice"
    BETWEEN_LANES = "between_lanes"
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


@dataclass(frozen=True, slots=True)
class _View:
    """By what a lane judges at one moment."""

    rules: LaneRules
    elsewhere: Mapping[bytes, float]
    now_s: float

    def home_lead_db(self, track: Track) -> float:
        """By how much this lane hears it better than any other."""
        here_db = track.level_dbm - self.rules.min_rssi_dbm
        return here_db - self.elsewhere.get(track.code, UNHEARD_DB)

    def rivals(self, leader: Track, track: Track) -> bool:
        """Whether it could be ``track`` as well that is at this lane."""
        since_s, margin_db = self.now_s - self.rules.settle_s, self.rules.margin_db
        lead_db = leader.lowest_dbm(since_s) - track.highest_dbm(since_s)
        near = track.level_dbm >= self.rules.min_rssi_dbm
        told = leader.code in self.elsewhere or track.code in self.elsewhere
        if not near or not told or track.sent_twice:
            return lead_db < margin_db
        if lead_db <= -margin_db:
            return True
        lead_db += self.elsewhere.get(track.code, UNHEARD_DB)
        lead_db -= self.elsewhere.get(leader.code, UNHEARD_DB)
        return lead_db < _TWO_LEADS * margin_db


class Sightings:
    """What a lane hears. Feed it with ``hear``, oldest advert first; then ask."""

    def __init__(self, rules: LaneRules) -> None:
        self._rules = rules
        self._tracks: dict[bytes, Track] = {}
        self._crowded_until_s = float("-inf")

    @property
    def rules(self) -> LaneRules:
        return self._rules

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
        self._tracks[code] = Track(code, rssi_dbm, heard_at_s)

    def nearby(self, now_s: float) -> tuple[Nearby, ...]:
        """All jacks of the last ``FORGET_AFTER_S``, strongest first, quiet ones at the end."""
        return self._shown(self._remembered(now_s), now_s)

    def choose(
        self,
        now_s: float,
        elsewhere: Mapping[bytes, float] = NOWHERE_ELSE,
        rules: LaneRules | None = None,
    ) -> Choice:
        """The jack at this lane at monotonic ``now_s``.

        ``elsewhere``: how many dB above their own thresholds other lanes hear each code, the best
        of them. ``rules``: judge by these instead; ``quiet_after_s`` has to be the same.
        """
        view = _View(rules or self._rules, elsewhere, now_s)
        remembered = self._remembered(now_s)
        heard = self._present(remembered, view)
        if not heard:
            return NoJack(Absence.STALE if remembered else Absence.NONE_HEARD)
        near = [track for track in heard if track.level_dbm >= view.rules.min_rssi_dbm]
        if not near:
            return NoJack(Absence.TOO_WEAK)
        leader = max(near, key=view.home_lead_db)
        if view.home_lead_db(leader) <= -view.rules.home_margin_db:
            return NoJack(Absence.AT_ANOTHER_LANE)
        rivals = [track for track in heard if track is not leader and view.rivals(leader, track)]
        if doubt := self._doubt(leader, rivals, view):
            return Ambiguous(self._shown([leader, *rivals], now_s), doubt)
        if not _is_settled(leader, now_s, view.rules):
            return NoJack(Absence.SETTLING)
        if leader.highest_dbm(now_s - _LEAVING_S) - leader.level_dbm >= _LEAVING_DB:
            return NoJack(Absence.LEAVING)
        return Chosen(self._seen(leader, now_s), others=len(heard) - 1)

    def _doubt(self, leader: Track, rivals: list[Track], view: _View) -> Ambiguity | None:
        """Why it may not be the leader; None: there is no doubt."""
        if view.now_s < self._crowded_until_s:
            return Ambiguity.CROWDED
        if rivals:
            return Ambiguity.EQUALLY_NEAR
        if leader.sent_twice:
            return Ambiguity.SENT_TWICE
        if view.home_lead_db(leader) < view.rules.home_margin_db:
            return Ambiguity.BETWEEN_LANES
        return None

    def pick(self, handle: str, now_s: float) -> Choice:
        """The jack that the attendant means, however near: it only has to be heard."""
        heard = [t for t in self._remembered(now_s) if not self._is_quiet(t, now_s)]
        meant = [track for track in heard if handle_of(track.code) == handle]
        if not meant:
            return NoJack(Absence.NONE_HEARD)
        if len(meant) > 1:
            return Ambiguous(self._shown(meant, now_s), Ambiguity.SAME_HANDLE)
        return Chosen(self._seen(meant[0], now_s), others=len(heard) - 1)

    def told_to_neighbours(self, now_s: float) -> dict[bytes, float]:
        """How many dB above this lane's threshold each code is heard, for the lanes next to it."""
        return {
            track.code: track.level_dbm - self._rules.min_rssi_dbm
            for track in self._tracks.values()
            if not self._is_quiet(track, now_s)
        }

    def _present(self, tracks: list[Track], view: _View) -> list[Track]:
        """Those that are neither quiet nor have changed their code."""
        now_s = view.now_s

        def has_changed(track: Track) -> bool:
            silent = now_s - track.last_s > _SILENT_AFTER_S
            near = silent and _may_be_near(track, view.rules)
            return near and _is_replaced(track, tracks, now_s)

        return [t for t in tracks if not self._is_quiet(t, now_s) and not has_changed(t)]

    def _make_room(self, now_s: float) -> None:
        """Forget the quiet tracks first, then newcomers, then the weakest."""

        def worth(track: Track) -> tuple[bool, bool, float]:
            quiet = self._is_quiet(track, now_s)
            return not quiet, _is_settled(track, now_s, self._rules), track.level_dbm

        for track in sorted(self._tracks.values(), key=worth)[:_DROPPED_AT_ONCE]:
            if not self._is_quiet(track, now_s) and _may_be_near(track, self._rules):
                self._crowded_until_s = now_s + self._rules.quiet_after_s
            del self._tracks[track.code]

    def _is_quiet(self, track: Track, now_s: float) -> bool:
        return now_s - track.last_s > self._rules.quiet_after_s

    def _remembered(self, now_s: float) -> list[Track]:
        """Strongest first; equal ones in the order of their codes, whoever was heard first."""
        recent = (t for t in self._tracks.values() if now_s - t.last_s <= FORGET_AFTER_S)
        return sorted(recent, key=lambda t: (-t.level_dbm, t.code))

    def _shown(self, tracks: list[Track], now_s: float) -> tuple[Nearby, ...]:
        seen = (self._seen(track, now_s) for track in tracks)
        return tuple(sorted(seen, key=lambda jack: jack.quiet))

    def _seen(self, track: Track, now_s: float) -> Nearby:
        quiet = self._is_quiet(track, now_s)
        return Nearby(track.code, round(track.level_dbm), track.last_s, quiet)


def _may_be_near(track: Track, rules: LaneRules) -> bool:
    """Whether it could stand in the way of the weakest jack that may be chosen."""
    return track.level_dbm > rules.min_rssi_dbm - rules.margin_db


def _is_settled(track: Track, now_s: float, rules: LaneRules) -> bool:
    """Heard for long enough, and near enough for as long."""
    enough = track.samples >= rules.settle_samples
    if not enough or track.last_s - track.since_s < rules.settle_s:
        return False
    return track.lowest_dbm(now_s - rules.settle_s) >= rules.min_rssi_dbm


def _is_replaced(track: Track, tracks: list[Track], now_s: float) -> bool:
    """Whether as many have appeared as have fallen silent when ``track`` did."""
    silent = appeared = 0
    for other in tracks:
        if other.level_dbm < track.level_dbm - _ALIKE_DB:
            continue
        if abs(other.last_s - track.last_s) <= _SILENT_AFTER_S < now_s - other.last_s:
            silent += 1
        elif 0 < other.since_s - track.last_s <= _SILENT_AFTER_S:
            appeared += 1
    return appeared >= silent

"""The recorded adverts once more through the terminal's own sightings. Pure.

With the rules of the recording and the code that made it every decision comes out as it was. Where
the recording has a hole, what came before it is unknown: a decision counts as replayed only when
nothing in it can depend on that.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fieldkit.trials.lane_recording import (
    Answer,
    Decision,
    HeardAdvert,
    LaneRecording,
    Stretch,
    answer_of,
)
from payment_device.sightings import FORGET_AFTER_S, Choice, LaneRules, Sightings

_FORGET_AFTER_US: Final = round(FORGET_AFTER_S * 1e6)


class Unreplayable(StrEnum):
    """Why a decision cannot be decided again."""

    NO_RULES = "the rules of the run were not recorded"
    NOT_RECORDED = "the adverts before it were not recorded"
    AFTER_A_HOLE = "adverts are missing before it that it may depend on"
    UNKNOWN_CODE = "another lane's figure belongs to a code that was not recorded"


@dataclass(frozen=True, slots=True)
class Replayed:
    """One decision, decided again: ``answer``, or ``reason`` why that cannot be done."""

    decision: Decision
    answer: Answer | None
    reason: Unreplayable | None = None

    @property
    def differs(self) -> bool:
        """Whether it comes out otherwise than it was recorded."""
        return self.answer is not None and self.answer != self.decision.answer


def replay(recording: LaneRecording, rules: LaneRules | None = None) -> Iterator[Replayed]:
    """Every decision of a run, in order. ``rules``: in place of those of the recording."""
    rules = rules or recording.rules
    if rules is None:
        yield from (Replayed(d, None, Unreplayable.NO_RULES) for d in recording.decisions)
        return
    stretches = iter(recording.stretches)
    ear = Ear(next(stretches, Stretch(0, ())), rules)
    for decision in recording.decisions:
        while decision.adverts > ear.stretch.after:
            following = next(stretches, None)
            if following is None:
                break
            ear = Ear(following, rules)
        yield _decided(ear, decision)


def _decided(ear: Ear, decision: Decision) -> Replayed:
    if not ear.stretch.before <= decision.adverts <= ear.stretch.after:
        return Replayed(decision, None, Unreplayable.NOT_RECORDED)
    ear.feed(decision.adverts)
    if not ear.sure(decision.now_us):
        return Replayed(decision, None, Unreplayable.AFTER_A_HOLE)
    elsewhere = ear.codes(decision.elsewhere, decision.now_us)
    if len(elsewhere) < len(decision.elsewhere):
        return Replayed(decision, None, Unreplayable.UNKNOWN_CODE)
    return Replayed(decision, answer_of(ear.choice(decision, elsewhere)))


class Ear:
    """A terminal that hears one stretch of its recording again."""

    def __init__(self, stretch: Stretch, rules: LaneRules) -> None:
        self.stretch = stretch
        self.sightings = Sightings(rules)
        self._fed = 0
        self._hole = _Hole(stretch, rules.quiet_after_s) if stretch.before else None

    def feed(self, adverts: int) -> None:
        """Hear up to so many adverts of the run."""
        self._feed_to(adverts - self.stretch.before)

    def feed_until(self, now_us: int) -> None:
        """Hear what came up to ``now_us``."""
        self._feed_to(bisect_right(self.stretch.adverts, now_us, self._fed, key=_when))

    def _feed_to(self, end: int) -> None:
        for advert in self.stretch.adverts[self._fed : end]:
            if self._hole:
                self._hole.note(advert.code, advert.mono_us)
            self.sightings.hear(advert.code, advert.rssi_dbm, advert.mono_us / 1e6)
        self._fed = max(self._fed, end)

    def sure(self, now_us: int) -> bool:
        """Whether nothing that was heard in a hole can still count."""
        return self._hole is None or self._hole.is_forgotten(now_us)

    def codes(self, elsewhere: Mapping[str, float], now_us: int) -> dict[bytes, float]:
        """What other lanes hear by whole code, without those that are not heard here."""
        nearby = [jack.code for jack in self.sightings.nearby(now_us / 1e6)] if elsewhere else []
        found = {}
        for prefix, level_db in elsewhere.items():
            meant = [code for code in nearby if code.hex().startswith(prefix)]
            if len(meant) == 1:
                found[meant[0]] = level_db
        return found

    def choice(self, decision: Decision, elsewhere: Mapping[bytes, float]) -> Choice:
        """What the terminal says to the question of ``decision``."""
        now_s = decision.now_us / 1e6
        if decision.picked:
            return self.sightings.pick(decision.picked, now_s)
        return self.sightings.choose(now_s, elsewhere)


def _when(advert: HeardAdvert) -> int:
    return advert.mono_us


class _Hole:
    """For how long what is missing before a stretch may count.

    A code that comes right after it may have been heard in it, and goes on from there until it
    has been quiet; and what fell silent in it is remembered for a while.
    """

    def __init__(self, stretch: Stretch, quiet_after_s: float) -> None:
        self._quiet_after_us = quiet_after_s * 1e6
        self._ends_us = stretch.adverts[0].mono_us if stretch.adverts else None
        self._older_us: dict[bytes, int] = {}
        self._newer: set[bytes] = set()

    def note(self, code: bytes, mono_us: int) -> None:
        """One advert after it."""
        if code in self._newer or self._ends_us is None:
            return
        if mono_us - self._older_us.get(code, self._ends_us) > self._quiet_after_us:
            self._older_us.pop(code, None)
            self._newer.add(code)
        else:
            self._older_us[code] = mono_us

    def is_forgotten(self, now_us: int) -> bool:
        """Whether a decision at ``now_us`` cannot depend on what is missing."""
        if self._ends_us is None:
            return False
        last_us = (self._ends_us, *self._older_us.values())
        return all(now_us - at_us > _FORGET_AFTER_US for at_us in last_us)

"""Recordings as a terminal would have made them, from a street that the test describes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from fieldkit.trials.lane_recording import (
    Decision,
    HeardAdvert,
    LaneRecording,
    Stretch,
    answer_of,
)
from payment_device.sightings import LaneRules, Sightings

RULES = LaneRules()
A, B, C = (bytes([n] * 8) for n in (0xAA, 0xBB, 0xCC))


def standing(
    code: bytes, rssi_dbm: int, begins_s: float, ends_s: float, seed: int = 0, spread_db: float = 3
) -> list[HeardAdvert]:
    """A jack that is heard every 100 ms and a bit, with some fading."""
    luck, at_s, adverts = random.Random(f"{seed}{code.hex()}{begins_s}"), begins_s, []
    while at_s < ends_s:
        level = round(luck.gauss(rssi_dbm, spread_db))
        adverts.append(HeardAdvert(round(at_s * 1e6), code, level))
        at_s += 0.1 + luck.uniform(0, 0.01)
    return adverts


def recorded(
    *jacks: Iterable[HeardAdvert],
    every_s: float = 0.25,
    rules: LaneRules = RULES,
    until_s: float | None = None,
) -> LaneRecording:
    """What a terminal records that hears these and answers at fixed times."""
    adverts = sorted((a for jack in jacks for a in jack), key=lambda advert: advert.mono_us)
    last_us = adverts[-1].mono_us if until_s is None else round(until_s * 1e6)
    sightings, fed, decisions, step = Sightings(rules), 0, [], 1
    while (now_us := round(step * every_s * 1e6)) <= last_us:
        while fed < len(adverts) and adverts[fed].mono_us <= now_us:
            advert = adverts[fed]
            sightings.hear(advert.code, advert.rssi_dbm, advert.mono_us / 1e6)
            fed += 1
        answer = answer_of(sightings.choose(now_us / 1e6))
        decisions.append(Decision(now_us, fed, "shown", answer))
        step += 1
    return LaneRecording("pi", "lane-1", 1, rules, [Stretch(0, adverts)], decisions)


def with_hole(recording: LaneRecording, first: int, last: int) -> LaneRecording:
    """The same without adverts ``first`` to ``last``, counted from 0."""
    (whole,) = recording.stretches
    parts: Sequence[Stretch] = [
        Stretch(0, whole.adverts[:first]),
        Stretch(last + 1, whole.adverts[last + 1 :]),
    ]
    return LaneRecording(
        recording.machine,
        recording.lane,
        recording.run,
        recording.rules,
        [part for part in parts if part.adverts],
        recording.decisions,
    )

"""Which jack is at this lane.

Invariant of the fuzzing: whoever is chosen was heard just now, is settled, strong enough, and
leads by the margin; the order in which jacks are heard and the origin of time play no part.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from itertools import chain, count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_device.sightings import (
    FORGET_AFTER_S,
    MAX_TRACKS,
    Absence,
    Ambiguity,
    Ambiguous,
    Choice,
    Chosen,
    LaneRules,
    Sightings,
    handle_of,
)

RULES = LaneRules()
A, B, C = (bytes([n] * 8) for n in (0xAA, 0xBB, 0xCC))
#: About a third of a jack's interval, exact in binary: sums of it can be compared.
TICK_S = 1 / 32


@dataclass(frozen=True)
class Advert:
    code: bytes
    rssi_dbm: int
    heard_at_s: float


def steady(code: bytes, rssi_dbm: int, start_s: float, end_s: float) -> list[Advert]:
    """A jack at rest, every 100 ms from ``start_s`` up to ``end_s``."""
    adverts = round((end_s - start_s) * 10)
    return [Advert(code, rssi_dbm, start_s + number / 10) for number in range(adverts + 1)]


def lane(*jacks: list[Advert]) -> Sightings:
    sightings = Sightings(RULES)
    for advert in sorted(chain(*jacks), key=lambda advert: advert.heard_at_s):
        sightings.hear(advert.code, advert.rssi_dbm, advert.heard_at_s)
    return sightings


def outcome(choice: Choice) -> object:
    """The code, the handles or the reason: what a table can name."""
    if isinstance(choice, Chosen):
        return choice.jack.code
    if isinstance(choice, Ambiguous):
        return choice.reason, {jack.code for jack in choice.candidates}
    return choice.reason


@pytest.mark.parametrize(
    ("adverts", "now_s", "expected"),
    [
        pytest.param([], 0.0, Absence.NONE_HEARD, id="silence"),
        pytest.param([steady(A, -60, 0, 3)], 3.0, A, id="one jack"),
        pytest.param([steady(A, -75, 0, 3)], 3.0, A, id="at the threshold"),
        pytest.param([steady(A, -76, 0, 3)], 3.0, Absence.TOO_WEAK, id="below the threshold"),
        pytest.param([steady(A, -60, 0, 3)], 4.0, A, id="heard a second ago"),
        pytest.param([steady(A, -60, 0, 3)], 4.1, Absence.STALE, id="gone"),
        pytest.param([steady(A, -60, 0, 3)], 13.1, Absence.NONE_HEARD, id="gone for long"),
        pytest.param([steady(A, -60, 0, 0.4)], 0.4, Absence.SETTLING, id="just come"),
        pytest.param([steady(A, -60, 0, 0.5)], 0.5, A, id="settled"),
        pytest.param([steady(A, -60, 0, 3), steady(B, -72, 0, 3)], 3.0, A, id="margin"),
        pytest.param(
            [steady(A, -60, 0, 3), steady(B, -71, 0, 3)],
            3.0,
            (Ambiguity.EQUALLY_NEAR, {A, B}),
            id="within the margin",
        ),
        pytest.param(
            [steady(A, -60, 0, 3), steady(B, -62, 3, 3)],
            3.0,
            (Ambiguity.EQUALLY_NEAR, {A, B}),
            id="a rival counts from its first advert",
        ),
        pytest.param(
            [steady(A, -60, 0, 3), steady(B, -60, 0, 1.9)], 3.0, A, id="the rival has left"
        ),
        pytest.param(
            [steady(A, -60, 0, 3), steady(B, -47, 2.8, 3)],
            3.0,
            Absence.SETTLING,
            id="a nearer one has just come",
        ),
        pytest.param(
            [steady(A, -60, 0, 1), steady(A, -60, 2.5, 2.7)],
            2.7,
            Absence.SETTLING,
            id="back after a gap",
        ),
        pytest.param(
            [steady(A, -74, 0, 3), steady(B, -80, 0, 3)],
            3.0,
            (Ambiguity.EQUALLY_NEAR, {A, B}),
            id="a rival below the threshold is a rival",
        ),
        pytest.param(
            [steady(A, -85, 0, 2.4), steady(A, -60, 2.5, 3)],
            3.0,
            Absence.SETTLING,
            id="not near enough for long enough",
        ),
        pytest.param([steady(A, 127, 0, 3)], 3.0, Absence.NONE_HEARD, id="level not available"),
    ],
)
def test_who_is_at_the_lane(adverts: list[list[Advert]], now_s: float, expected: object) -> None:
    assert outcome(lane(*adverts).choose(now_s)) == expected


def test_the_chosen_one_is_told_with_level_age_and_the_number_of_others() -> None:
    sightings = lane(steady(A, -60, 0, 3), steady(B, -80, 0, 2.5), steady(C, -80, 0, 1))
    choice = sightings.choose(3.0)
    assert isinstance(choice, Chosen)
    assert (choice.jack.handle, choice.jack.rssi_dbm, choice.jack.heard_at_s) == ("aaaa", -60, 3.0)
    assert choice.others == 1


def changing(*jacks: tuple[bytes, bytes, int], end_s: float) -> Sightings:
    """Jacks (old code, new code, level) that all change their codes after five seconds."""
    heard = [
        part
        for old, new, rssi_dbm in jacks
        for part in (steady(old, rssi_dbm, 0, 5), steady(new, rssi_dbm, 5.1, end_s))
    ]
    return lane(*heard)


def test_a_change_of_code_costs_no_more_than_settling() -> None:
    outcomes = {
        end_s: outcome(changing((A, B, -60), end_s=end_s).choose(end_s))
        for end_s in (5.3, 5.5, 5.6, 7.0)
    }
    assert outcomes == {
        5.3: (Ambiguity.EQUALLY_NEAR, {A, B}),
        5.5: Absence.SETTLING,
        5.6: B,
        7.0: B,
    }


def test_cars_that_change_together_are_not_linked_and_still_told_apart() -> None:
    fresh = A[:2] + C[2:]
    assert outcome(changing((A, B, -60), (C, fresh, -73), end_s=5.7).choose(5.7)) == B
    alike = changing((A, B, -60), (C, fresh, -62), end_s=5.7).choose(5.7)
    assert outcome(alike) == (Ambiguity.EQUALLY_NEAR, {B, fresh})


def test_a_car_whose_adverts_are_lost_for_a_moment_stays_a_rival() -> None:
    """One jack changes its code while another one is not heard: two are silent, one came."""
    heard = (steady(A, -60, 0, 5), steady(C, -61, 0, 5), steady(B, -60, 5.1, 5.8))
    ambiguous = lane(*heard).choose(5.8)
    assert isinstance(ambiguous, Ambiguous)
    assert C in {jack.code for jack in ambiguous.candidates}


def test_nobody_takes_the_place_of_a_silent_jack_who_is_much_weaker() -> None:
    heard = (steady(A, -60, 0, 5), steady(B, -67, 5.1, 5.8))
    assert outcome(lane(*heard).choose(5.8)) == (Ambiguity.EQUALLY_NEAR, {A, B})


def test_a_code_that_two_radios_send_is_ambiguous() -> None:
    replayed = [
        replace(advert, heard_at_s=advert.heard_at_s + 0.03) for advert in steady(A, -60, 0, 3)
    ]
    assert outcome(lane(steady(A, -60, 0, 3), replayed).choose(3.0)) == (Ambiguity.SENT_TWICE, {A})
    bunches = [
        replace(advert, heard_at_s=round(advert.heard_at_s)) for advert in steady(A, -60, 0, 3)
    ]
    assert outcome(lane(bunches).choose(3.0)) == A


def test_a_car_that_drives_away_is_not_chosen_though_it_still_leads() -> None:
    leaving = [*steady(A, -55, 0, 3), *steady(A, -65, 3.1, 4)]
    assert outcome(lane(leaving, steady(B, -80, 0, 4)).choose(4.0)) == Absence.LEAVING
    stays = [*leaving, *steady(A, -65, 4.1, 7)]
    assert outcome(lane(stays, steady(B, -80, 0, 7)).choose(7.0)) == A


def test_a_lead_counts_once_it_has_lasted() -> None:
    rising = [*steady(A, -66, 0, 3), *steady(A, -55, 3.1, 6)]
    held = {
        at_s: isinstance(
            lane([a for a in rising if a.heard_at_s <= at_s], steady(B, -68, 0, at_s)).choose(at_s),
            Chosen,
        )
        for at_s in (3.0, 3.8, 6.0)
    }
    assert held == {3.0: False, 3.8: False, 6.0: True}


def test_single_fades_do_not_change_the_level() -> None:
    faded = [
        replace(advert, rssi_dbm=-90) if number % 4 == 3 else advert
        for number, advert in enumerate(steady(A, -60, 0, 3))
    ]
    assert outcome(lane(faded, steady(B, -73, 0, 3)).choose(3.0)) == A


def test_a_car_that_comes_nearer_is_followed_within_two_seconds() -> None:
    sightings = lane(steady(A, -60, 0, 3), steady(B, -85, 0, 3))
    for advert in [*steady(A, -85, 3.1, 4.8), *steady(B, -60, 3.1, 4.8)]:
        sightings.hear(advert.code, advert.rssi_dbm, advert.heard_at_s)
    assert outcome(sightings.choose(4.8)) == B


def test_the_attendant_may_pick_any_jack_that_is_heard() -> None:
    sightings = lane(steady(A, -60, 0, 3), steady(B, -60, 0, 3), steady(C, -90, 2.9, 3))
    assert outcome(sightings.choose(3.0)) == (Ambiguity.EQUALLY_NEAR, {A, B})
    assert outcome(sightings.pick("bbbb", 3.0)) == B
    assert outcome(sightings.pick("cccc", 3.0)) == C
    assert outcome(sightings.pick("dddd", 3.0)) == Absence.NONE_HEARD
    assert outcome(sightings.pick("bbbb", 4.5)) == Absence.NONE_HEARD


def test_a_handle_that_two_jacks_share_is_no_pick() -> None:
    twin = A[:2] + B[2:]
    sightings = lane(steady(A, -60, 0, 3), steady(twin, -80, 0, 3))
    assert outcome(sightings.pick("aaaa", 3.0)) == (Ambiguity.SAME_HANDLE, {A, twin})


def test_jacks_are_listed_by_level_and_the_quiet_ones_at_the_end() -> None:
    sightings = lane(steady(A, -70, 0, 5), steady(B, -50, 0, 1), steady(C, -60, 0, 5))
    listed = sightings.nearby(5.0)
    assert [(jack.handle, jack.quiet) for jack in listed] == [
        ("cccc", False),
        ("aaaa", False),
        ("bbbb", True),
    ]
    assert sightings.nearby(5.0 + FORGET_AFTER_S + 0.1) == ()


def test_codes_are_not_shown_in_full() -> None:
    choice = lane(steady(A, -60, 0, 3)).choose(3.0)
    assert A.hex() not in repr(choice)
    assert repr(A) not in repr(choice)
    assert handle_of(A) == "aaaa"


def codes(first: int, how_many: int) -> list[bytes]:
    return [number.to_bytes(8) for number in range(first, first + how_many)]


def test_a_flood_of_far_codes_is_forgotten_and_harms_nobody() -> None:
    flood = (Advert(code, -95, 1 + n / 10_000) for n, code in enumerate(codes(0, 20_000)))
    sightings = lane(steady(A, -60, 0, 3), list(flood))
    assert len(sightings.nearby(3.0)) <= MAX_TRACKS
    assert outcome(sightings.choose(3.0)) == A


def test_a_flood_of_near_codes_is_ambiguous_and_the_attendant_can_still_pick() -> None:
    flood = (Advert(code, -50, 1 + n / 1000) for n, code in enumerate(codes(0, 2000)))
    sightings = lane(steady(A, -60, 0, 3), list(flood))
    choice = sightings.choose(3.0)
    assert isinstance(choice, Ambiguous)
    assert choice.reason is Ambiguity.CROWDED
    assert outcome(sightings.pick("aaaa", 3.0)) == A
    for advert in steady(A, -60, 3.1, 4.2):
        sightings.hear(advert.code, advert.rssi_dbm, advert.heard_at_s)
    assert outcome(sightings.choose(4.2)) == A


def test_quiet_jacks_make_room_before_others() -> None:
    parked = [Advert(code, -55, 0.0) for code in codes(0, MAX_TRACKS)]
    arriving = [Advert(code, -80, 5.0) for code in codes(1000, MAX_TRACKS // 2)]
    sightings = lane(parked, arriving, steady(A, -60, 5, 6))
    assert outcome(sightings.choose(6.0)) == A


@pytest.mark.parametrize(
    "wrong",
    [
        {"margin_db": -1},
        {"home_margin_db": -1},
        {"settle_s": 1.0},
        {"settle_s": -0.1},
        {"settle_samples": 0},
    ],
)
def test_rules_without_meaning_are_a_mistake(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        replace(RULES, **wrong)  # type: ignore[arg-type]


jacks = st.sampled_from([A, B, C, A[:2] + C[2:]])
adverts = st.builds(
    Advert, jacks, st.integers(-100, -30), st.integers(0, 200).map(lambda tick: tick * TICK_S)
)
histories = st.lists(adverts, max_size=120).map(
    lambda heard: sorted(heard, key=lambda advert: advert.heard_at_s)
)


def levels(history: list[Advert]) -> dict[bytes, float]:
    """Median and EWMA once more, plainly: the level of each code after a gapless history."""
    level: dict[bytes, float] = {}
    heard: dict[bytes, list[int]] = {}
    last: dict[bytes, float] = {}
    for advert in history:
        if advert.heard_at_s - last.get(advert.code, -99.0) > RULES.quiet_after_s:
            heard[advert.code], level[advert.code] = [], advert.rssi_dbm
        last[advert.code] = advert.heard_at_s
        heard[advert.code].append(advert.rssi_dbm)
        newest = sorted(heard[advert.code][-7:])
        if len(heard[advert.code]) > 1:
            level[advert.code] += 0.3 * (newest[len(newest) // 2] - level[advert.code])
    return level


@given(histories, st.integers(0, 300))
def test_never_stale_never_weak_never_within_the_margin(history: list[Advert], tick: int) -> None:
    now_s = tick * TICK_S
    history = [advert for advert in history if advert.heard_at_s <= now_s]
    choice = lane(history).choose(now_s)
    if not isinstance(choice, Chosen):
        return
    level, last = levels(history), {advert.code: advert.heard_at_s for advert in history}
    winner = level.pop(choice.jack.code)
    assert now_s - last[choice.jack.code] <= RULES.quiet_after_s
    assert winner >= RULES.min_rssi_dbm
    assert sum(advert.code == choice.jack.code for advert in history) >= RULES.settle_samples
    rivals = [code for code in level if now_s - last[code] <= RULES.quiet_after_s]
    assert choice.others == len(rivals)
    assert all(winner - level[code] >= RULES.margin_db for code in rivals)


@given(histories, st.integers(0, 300), st.integers(-1000, 10**6))
def test_the_origin_of_time_plays_no_part(history: list[Advert], tick: int, shift: int) -> None:
    moved = [replace(a, heard_at_s=a.heard_at_s + shift * TICK_S) for a in history]
    here = outcome(lane(history).choose(tick * TICK_S))
    there = outcome(lane(moved).choose((tick + shift) * TICK_S))
    assert here == there


@given(histories, st.integers(0, 300), st.integers())
def test_the_order_among_different_jacks_plays_no_part(
    history: list[Advert], tick: int, seed: int
) -> None:
    """Jacks' adverts in any interleaving that keeps each jack's own order."""
    turns = [advert.code for advert in history]
    random.Random(seed).shuffle(turns)
    own = {code: iter([a for a in history if a.code == code]) for code in set(turns)}
    shuffled = Sightings(RULES)
    for code in turns:
        advert = next(own[code])
        shuffled.hear(advert.code, advert.rssi_dbm, advert.heard_at_s)
    assert shuffled.choose(tick * TICK_S) == lane(history).choose(tick * TICK_S)


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(-100, 127)), max_size=3000))
def test_memory_is_bounded_whatever_is_heard(heard: list[tuple[int, int]]) -> None:
    sightings = Sightings(RULES)
    for (code, rssi_dbm), number in zip(heard, count(), strict=False):
        sightings.hear(code.to_bytes(8), rssi_dbm, number / 1000)
        assert len(sightings.nearby(number / 1000)) <= MAX_TRACKS

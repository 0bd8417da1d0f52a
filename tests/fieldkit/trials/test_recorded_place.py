"""A recorded lane whose cars are known, tried by other rules."""

from __future__ import annotations

from dataclasses import replace

from fieldkit.trials.lane_recording import LaneRecording
from fieldkit.trials.recorded_place import RecordedPlace, Stay, recorded_place
from fieldkit.world.tally import Outcome
from tests.fieldkit.trials.lane_streets import RULES, A, B, C, recorded, standing, with_hole

HANDLES = {"a": frozenset({"aaaa"}), "b": frozenset({"bbbb", "b0b0"}), "bicycle": frozenset[str]()}
STAYS = [Stay("a", 0, 20_000_000), Stay("b", 30_000_000, 50_000_000)]


def street() -> LaneRecording:
    """A stops, then B with C beside it; each is charged once."""
    recording = recorded(
        standing(A, -60, 0, 20), standing(B, -60, 30, 50), standing(C, -67, 30, 50)
    )
    decisions = list(recording.decisions)
    for number, payment in ((39, "pay-a"), (159, "pay-b")):
        decisions[number] = replace(decisions[number], asked="charge", payment=payment)
    asked_us = {decision.payment: decision.now_us for decision in decisions if decision.payment}
    return replace(recording, decisions=decisions, asked_us=asked_us)


def place(recording: LaneRecording, stays: list[Stay] = STAYS, alike: bool = True) -> RecordedPlace:
    found = recorded_place("parking", recording, stays, HANDLES, alike=alike)
    assert found is not None
    return found


def outcomes(tried: RecordedPlace, **rules: float) -> list[Outcome]:
    changed = replace(RULES, **rules)  # type: ignore[arg-type]
    judged = sorted(tried.play([changed]), key=lambda one: one.question)
    return [one.outcome for one in judged]


def test_charges_are_judged_by_who_stood_there() -> None:
    tried = place(street())
    assert [(q.name, q.lane, q.group, q.jack_there) for q in tried.questions] == [
        ("pay-a", "lane-1", "parking: a", True),
        ("pay-b", "lane-1", "parking: b", True),
    ]
    assert outcomes(tried) == [Outcome.RIGHT, Outcome.AMBIGUOUS]
    assert outcomes(tried, margin_db=1.0) == [Outcome.RIGHT, Outcome.RIGHT]
    assert outcomes(tried, min_rssi_dbm=-50.0) == [Outcome.NONE, Outcome.NONE]


def test_another_cars_jack_is_wrong() -> None:
    swapped = [Stay("b", 0, 20_000_000), Stay("bicycle", 30_000_000, 50_000_000)]
    tried = place(street(), swapped)
    assert [question.jack_there for question in tried.questions] == [True, False]
    assert outcomes(tried, margin_db=1.0) == [Outcome.WRONG, Outcome.WRONG]


def test_several_sets_of_rules_are_played_at_once() -> None:
    loose, strict = replace(RULES, margin_db=1.0), replace(RULES, margin_db=30.0)
    judged = list(place(street()).play([strict, loose]))
    assert {(one.question, one.rules, one.outcome) for one in judged} == {
        (0, 0, Outcome.RIGHT),
        (0, 1, Outcome.RIGHT),
        (1, 0, Outcome.AMBIGUOUS),
        (1, 1, Outcome.RIGHT),
    }


def test_neighbours_move_with_the_threshold_where_lanes_are_alike() -> None:
    recording = street()
    # The next lane hears both as if they stood there.
    told = {"aaaa": 18.0, "bbbb": 18.0}
    decisions = [replace(decision, elsewhere=told) for decision in recording.decisions]
    recording = replace(recording, decisions=decisions)
    alike, alone = place(recording), place(recording, alike=False)
    assert alike.shares
    # By 3 dB the other lane hears it better, whatever threshold both have.
    assert outcomes(alike)[0] is Outcome.AMBIGUOUS
    assert outcomes(alike, min_rssi_dbm=-65.0)[0] is Outcome.AMBIGUOUS
    assert outcomes(alone, min_rssi_dbm=-65.0)[0] is Outcome.NONE
    assert outcomes(alone, min_rssi_dbm=-95.0)[0] is Outcome.RIGHT


def test_what_is_not_known_is_not_asked() -> None:
    def names(recording: LaneRecording, stays: list[Stay]) -> list[str]:
        found = recorded_place("parking", recording, stays, HANDLES, alike=True)
        return [question.name for question in found.questions] if found else []

    recording = street()
    assert names(recording, []) == []
    assert names(recording, [Stay("stranger", 0, 90_000_000)]) == []
    assert names(replace(recording, rules=None), STAYS) == []
    picked = [replace(d, picked="aaaa") if d.payment == "pay-a" else d for d in recording.decisions]
    assert names(replace(recording, decisions=picked), STAYS) == ["pay-b"]
    assert names(with_hole(recording, 50, 55), STAYS) == []


def test_a_charge_after_a_hole_is_asked_once_all_is_known_again() -> None:
    recording = street()
    cut = replace(with_hole(recording, 2, 4), asked_us=recording.asked_us)
    found = recorded_place("parking", cut, STAYS, HANDLES, alike=True)
    assert found is not None
    assert [question.name for question in found.questions] == ["pay-b"]

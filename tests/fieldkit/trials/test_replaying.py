"""Recorded decisions, decided again.

Invariant of the fuzzing: whatever is missing of a recording, a decision that is replayed comes out
as it did with everything.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldkit.trials.lane_recording import Answer, Decision, Outcome
from fieldkit.trials.replaying import Unreplayable, replay
from payment_device.sightings import LaneRules
from tests.fieldkit.trials.lane_streets import RULES, A, B, C, recorded, standing, with_hole


def test_every_decision_comes_out_as_it_was() -> None:
    recording = recorded(standing(A, -60, 0, 9), standing(B, -70, 3, 20), standing(C, -80, 0, 12))
    replays = list(replay(recording))
    assert [r.answer for r in replays] == [d.answer for d in recording.decisions]
    assert {r.decision.answer.outcome for r in replays} == set(Outcome)
    assert not any(r.differs for r in replays)


def test_other_rules_decide_otherwise() -> None:
    recording = recorded(standing(A, -60, 0, 9), standing(B, -67, 0, 9))
    changed = [r for r in replay(recording, replace(RULES, margin_db=1.0)) if r.differs]
    assert changed
    assert {r.decision.answer.outcome for r in changed} == {Outcome.AMBIGUOUS}
    chosen = {r.answer.jack for r in changed if r.answer and r.answer.outcome is Outcome.CHOSEN}
    assert chosen == {"aaaa"}


def test_other_code_decides_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    recording = recorded(standing(A, -60, 0, 3))
    monkeypatch.setattr("payment_device.tracks._EWMA_WEIGHT", 0.01)
    assert any(r.differs for r in replay(recording))


def test_a_picked_jack_and_another_lane_are_taken_into_account() -> None:
    recording = recorded(standing(A, -60, 0, 3), standing(B, -62, 0, 3))
    adverts = len(recording.stretches[0].adverts)
    picked = Decision(3_000_000, adverts, "charge", Answer(Outcome.NONE), picked="bbbb")
    told = Decision(3_000_000, adverts, "shown", Answer(Outcome.NONE), elsewhere={"bbbb": 30.0})
    both = replace(recording, decisions=[picked, told])
    assert [r.answer.jack for r in replay(both) if r.answer] == ["bbbb", "aaaa"]


def test_a_figure_for_a_code_that_nobody_heard_is_not_guessed() -> None:
    recording = recorded(standing(A, -60, 0, 3))
    odd = replace(recording.decisions[-1], elsewhere={"cccc": 30.0})
    (replayed,) = replay(replace(recording, decisions=[odd]))
    assert replayed.reason is Unreplayable.UNKNOWN_CODE


def test_without_rules_nothing_is_decided() -> None:
    recording = replace(recorded(standing(A, -60, 0, 2)), rules=None)
    assert {r.reason for r in replay(recording)} == {Unreplayable.NO_RULES}
    assert not any(r.reason for r in replay(recording, LaneRules()))


def test_what_was_not_recorded_is_not_replayed() -> None:
    recording = recorded(standing(A, -60, 0, 30))
    cut = with_hole(recording, 0, 99)
    reasons = [r.reason for r in replay(cut)]
    assert reasons[0] is Unreplayable.NOT_RECORDED
    # The car has stood there since before the hole: how long it was heard remains unknown.
    assert reasons[-1] is Unreplayable.AFTER_A_HOLE


def test_a_car_that_comes_after_a_hole_is_decided_again() -> None:
    recording = recorded(standing(A, -60, 0, 5), standing(B, -60, 20, 30))
    replays = list(replay(with_hole(recording, 10, 19)))
    assert replays[-1].answer == recording.decisions[-1].answer
    assert replays[-1].answer is not None
    assert replays[-1].answer.jack == "bbbb"


@st.composite
def streets(draw: st.DrawFn) -> list[tuple[bytes, int, float, float]]:
    count = draw(st.integers(1, 5))
    return [
        (
            bytes([draw(st.integers(0, 3)), number] * 4),
            draw(st.integers(-90, -50)),
            begins_s := draw(st.floats(0, 30)),
            begins_s + draw(st.floats(0.5, 15)),
        )
        for number in range(count)
    ]


@given(street=streets(), hole=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_a_hole_never_makes_a_difference(
    street: list[tuple[bytes, int, float, float]], hole: tuple[float, float]
) -> None:
    recording = recorded(*(standing(*jack) for jack in street), until_s=60)
    most = recording.adverts - 1
    first, last = sorted(round(share * most) for share in hole)
    replays = list(replay(with_hole(recording, first, last)))
    assert len(replays) == len(recording.decisions)
    assert [r for r in replays if r.differs] == []

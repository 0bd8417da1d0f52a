"""Lists of what happened are no finer than the times are known."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings

from fieldkit.trials.archive import Trial
from fieldkit.trials.attempts import attempts
from fieldkit.trials.scenario import SCENARIOS_FOLDER
from fieldkit.trials.sequence import Listed, in_order, unsure
from fieldkit.trials.timeline import Timeline, lay_out
from fieldkit.trials.uncertainty import told_within
from tests.fieldkit.trials.machines import NS, Machine, Trip
from tests.fieldkit.trials.recordings import MS, PAYMENT
from tests.fieldkit.trials.test_alignment import FAST_NS, PARTIES, trips


def trip() -> Trip:
    """Each party on a machine of its own."""
    return Trip({party: Machine(party, NS * 50) for party in ("server", *PARTIES)})


def listed(timeline: Timeline, payment: str = PAYMENT) -> list[Listed]:
    return in_order(timeline.payments[payment], timeline)


def lines(timeline: Timeline) -> list[tuple[str, str, bool]]:
    return [(each.happening.party, each.happening.name, each.unsure) for each in listed(timeline)]


def test_no_payment_of_the_example_is_received_before_it_is_sent() -> None:
    timeline = lay_out(Trial.open(SCENARIOS_FOLDER / "example.trial"))
    for attempt in attempts(timeline):
        names = [
            (each.happening.party, each.happening.name) for each in in_order(attempt.own, timeline)
        ]
        sent, received = ("server", "challenge_issued"), ("phone", "challenge_received")
        if received in names:
            assert names.index(sent) < names.index(received)


def test_what_the_bounds_decide_is_not_turned_round_by_a_late_note() -> None:
    made = trip()
    made.pay(PAYMENT, 10 * NS, FAST_NS, without=["server"])
    made.note("server", "request_received", 10 * NS + 3 * MS, PAYMENT)
    # Seconds after the phone had it, and everybody is tied within milliseconds.
    made.note("server", "challenge_issued", 15 * NS, PAYMENT)
    made.pay("another", 20 * NS, FAST_NS)
    made.pay("one-before", 5 * NS, FAST_NS)
    for record in made.agents:
        record.events.sort(key=lambda event: event.mono_ns)
    names = [(party, name) for party, name, _ in lines(lay_out(made))]
    assert names.index(("phone", "challenge_received")) < names.index(
        ("server", "challenge_issued")
    )


def test_what_may_have_come_before_a_line_above_it_is_marked() -> None:
    made = trip()
    made.pay(PAYMENT, 10 * NS, FAST_NS)
    # While the request is on its way, so that nobody can tell.
    made.note("jack", "called", 10 * NS + 4 * MS, PAYMENT)
    made.agents[-1].events.sort(key=lambda event: event.mono_ns)
    marks = {(party, name): mark for party, name, mark in lines(lay_out(made))}
    assert marks[("jack", "called")]
    in_turn = [
        ("terminal", "charge_asked"),
        ("server", "request_received"),
        ("server", "challenge_issued"),
        ("phone", "challenge_received"),
        ("phone", "confirmation_sent"),
    ]
    assert not marks[("terminal", "charge_asked")]
    assert all(marks[step] for step in in_turn[1:4]), "the jack's line may be after each"
    made = trip()
    made.pay(PAYMENT, 10 * NS, FAST_NS)
    marks = {(party, name): mark for party, name, mark in lines(lay_out(made))}
    assert not any(marks[step] for step in in_turn)


def test_a_clock_that_nothing_ties_has_an_order_with_itself_alone() -> None:
    made = trip()
    made.pay(PAYMENT, 10 * NS, FAST_NS, without=["jack"])
    for number in range(3):
        made.note("jack", f"word_{number}", (11 + number // 2) * NS, PAYMENT)
    marks = {name: mark for party, name, mark in lines(lay_out(made)) if party == "jack"}
    assert marks == {"word_0": True, "word_1": True, "word_2": True}
    alone = trip()
    for number in range(3):
        alone.note("jack", f"word_{number}", (11 + number // 2) * NS, PAYMENT)
    assert [mark for _, _, mark in lines(lay_out(alone))] == [False] * 3


@settings(max_examples=30, deadline=None)
@given(trips())
def test_a_line_without_a_mark_did_come_after_all_above_it(made: Trip) -> None:
    timeline = lay_out(made)
    truths_ns = {
        (record.machine, event.mono_ns, event.event): true_ns
        for record in made.agents
        for event, true_ns in zip(record.events, record.truths_ns, strict=True)
    }
    for payment in timeline.payments:
        found = [
            (truths_ns[one.clock.machine, one.read_ns, one.name], each.unsure)
            for each in listed(timeline, payment)
            for one in [each.happening]
        ]
        for place, (true_ns, mark) in enumerate(found):
            assert mark or all(above_ns <= true_ns for above_ns, _ in found[:place])


def test_rows_of_one_teller_are_in_order_and_those_of_others_where_bounds_part_them() -> None:
    spans = [("a", 10, 5.0), ("a", 12, 5.0), ("b", 14, 1.0), ("b", 30, 1.0), ("c", 99, math.inf)]
    assert unsure(spans) == [False, False, True, False, True]
    # After one that may have been at any time nothing else is sure.
    assert unsure([("a", 1, math.inf), ("b", 5, 0.0), ("b", 6, 0.0)]) == [False, True, True]


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, ""),
        (1, "± 0.1 ms"),
        (100_001, "± 0.11 ms"),
        (9_300_000, "± 9.3 ms"),
        (9_300_001, "± 9.4 ms"),
        (10_400_000.5, "± 11 ms"),
        (123_000_000, "± 130 ms"),
        (999_000_000, "± 1.0 s"),
        (2_010_000_000, "± 2.1 s"),
        (math.inf, "unknown"),
    ],
)
def test_an_uncertainty_is_rounded_up(ns: float, text: str) -> None:
    assert told_within(ns) == text


def test_a_larger_uncertainty_is_never_told_as_a_smaller_one() -> None:
    told = [told_within(ns) for ns in range(100_000, 3_000_000_000, 7_654_321)]
    values = [
        float(number) * {"ms": 1, "s": 1000}[unit]
        for _, number, unit in (text.split() for text in told)
    ]
    assert all(one <= other for one, other in pairwise(values))

"""One timeline from traces: on simulated machines the truth is always inside what is stated."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fieldkit.trials.alignment import (
    SLEWED_DRIFT_PPM,
    USUAL_DRIFT_PPM,
    Alignment,
    Basis,
    Relation,
    align,
)
from fieldkit.trials.bounds import ClockId
from fieldkit.trials.clock_truth import clock_truths
from tests.fieldkit.trials.machines import NS, Machine, Trip

MS = NS // 1000
PARTIES = ("terminal", "phone", "jack")
FAST_NS = (5 * MS,) * 8

offsets_ns = st.integers(-(10**6) * NS, 10**6 * NS)


def rates(most_ppm: int = USUAL_DRIFT_PPM) -> st.SearchStrategy[list[float]]:
    """A minute each. A rate of exactly the bound would be decided by rounding."""
    return st.lists(st.floats(0.001 - most_ppm, most_ppm - 0.001), min_size=1, max_size=20)


delays = st.lists(st.integers(0, 3 * NS), min_size=8, max_size=8)


@st.composite
def trips(draw: st.DrawFn, most_ppm: int = USUAL_DRIFT_PPM) -> Trip:
    """Four machines as nobody set them, and payments over twenty minutes."""
    machines = {"server": Machine("server", offset_ns=draw(offsets_ns))}
    for party in PARTIES:
        machines[party] = Machine(party, draw(offsets_ns), draw(rates(most_ppm)))
    trip = Trip(machines)
    at_ns = 0
    for number in range(draw(st.integers(1, 6))):
        at_ns += draw(st.integers(0, 300 * NS))
        at_ns = trip.pay(f"payment-{number}", at_ns, draw(delays))
    return trip


def assert_true(trip: Trip, alignment: Alignment) -> None:
    """Every event's true time, by the server's clock, is within what is stated for it."""
    zero_ns = trip.machines["server"].offset_ns
    for record in trip.agents:
        for event, true_ns in zip(record.events, record.truths_ns, strict=True):
            clock = ClockId(record.machine, event.boot)
            found = alignment.interval(clock, event.mono_ns)
            assert found.earliest_ns - 1 <= true_ns + zero_ns <= found.latest_ns + 1
            at_us, within_us = alignment.at_us(clock.machine, clock.boot, event.mono_ns // 1000)
            assert abs(at_us - (true_ns + zero_ns) / 1000) <= within_us + 2


@given(trips())
@settings(max_examples=150, deadline=None)
def test_the_truth_is_always_inside(trip: Trip) -> None:
    alignment = align(trip)
    assert alignment.statements == ()
    assert {clock.basis for clock in alignment.clocks} == {Basis.REFERENCE, Basis.MESSAGES}
    assert_true(trip, alignment)


@given(trips())
@settings(max_examples=60, deadline=None)
def test_what_is_said_to_come_first_does(trip: Trip) -> None:
    alignment = align(trip)
    noted = [
        ((ClockId(record.machine, event.boot), event.mono_ns), true_ns)
        for record in trip.agents
        for event, true_ns in zip(record.events, record.truths_ns, strict=True)
    ]
    for one, one_ns in noted:
        for other, other_ns in noted:
            if alignment.order(one, other) is Relation.BEFORE:
                assert one_ns < other_ns
                assert alignment.order(other, one) is Relation.AFTER


@given(trips())
@settings(max_examples=60, deadline=None)
def test_the_middles_keep_the_order_of_a_payment(trip: Trip) -> None:
    """Nothing is drawn as received before it was sent."""
    alignment = align(trip)
    at_ns = {
        (e.payment, e.party, e.event): alignment.at_ns(ClockId(r.machine, e.boot), e.mono_ns)
        for r in trip.agents
        for e in r.events
    }
    for payment in {payment for payment, _, _ in at_ns}:
        way = (
            ("terminal", "request_sent"),
            ("server", "request_received"),
            ("phone", "challenge_received"),
            ("jack", "challenge_received"),
            ("phone", "auth_code_received"),
            ("server", "confirmation_received"),
            ("phone", "confirmation_answered"),
        )
        times_ns = [at_ns[(payment, *step)] for step in way]
        assert times_ns == sorted(times_ns)


def trip_of(**changes: Machine) -> Trip:
    machines = {
        "server": Machine("server", offset_ns=50 * NS),
        "terminal": Machine("terminal", offset_ns=-7 * NS),
        "phone": Machine("phone", offset_ns=900 * NS),
        "jack": Machine("jack", offset_ns=3 * NS),
    }
    return Trip(machines | changes)


def test_fast_messages_make_it_fine() -> None:
    trip = trip_of()
    trip.pay("payment-1", 10 * NS, FAST_NS)
    alignment = align(trip)
    half_widths_ms = {c.id.machine: c.best_ns / MS for c in alignment.clocks}
    assert half_widths_ms["server"] == 0
    # There and back, halved: no message here takes longer than 5 ms.
    assert max(half_widths_ms.values()) < 15


def test_an_hour_later_the_drift_has_made_it_coarse() -> None:
    trip = trip_of()
    over_ns = trip.pay("payment-1", 10 * NS, FAST_NS)
    later = trip.note("jack", "beacon_rotated", over_ns + 3600 * NS, handle="3f2a")
    found = align(trip).interval(ClockId("jack", "boot-1"), later.mono_ns)
    assert 0.35 * NS < found.half_width_ns < 0.4 * NS


def test_a_drift_is_told_between_its_bounds() -> None:
    trip = trip_of(jack=Machine("jack", rates_ppm=[40.0] * 60))
    trip.pay("payment-1", 10 * NS, FAST_NS)
    trip.pay("payment-2", 3000 * NS, FAST_NS)
    jack = next(c for c in align(trip).clocks if c.id.machine == "jack")
    assert jack.drift_ppm is not None
    assert jack.drift_ppm[0] < 40 < jack.drift_ppm[1]
    assert jack.drift_ppm[1] - jack.drift_ppm[0] < 20


@given(trips(most_ppm=SLEWED_DRIFT_PPM))
@settings(max_examples=60, deadline=None)
def test_a_clock_that_is_being_put_right_is_told_of(trip: Trip) -> None:
    """Faster than a quartz: either no message shows it, or it is said and allowed for."""
    alignment = align(trip)
    if alignment.statements:
        assert all("ppm is allowed for" in text for text in alignment.statements)
        assert_true(trip, alignment)


def test_a_restart_is_another_clock() -> None:
    trip = trip_of()
    over_ns = trip.pay("payment-1", 10 * NS, FAST_NS)
    trip.machines["jack"] = Machine("jack", offset_ns=-60 * NS, boot="boot-2")
    trip.note("jack", "agent_started", over_ns + 20 * NS)
    trip.pay("payment-2", 90 * NS, FAST_NS)
    alignment = align(trip)
    assert_true(trip, alignment)
    jacks = {c.id.boot: c.offset_ns for c in alignment.clocks if c.id.machine == "jack"}
    # By the server's clock: it is ahead of the first by 47 s, and of the second by 110 s.
    assert abs(jacks["boot-1"] - 47 * NS) < 20 * MS
    assert abs(jacks["boot-2"] - 110 * NS) < 20 * MS


def test_without_messages_the_wall_clock_is_an_estimate_of_unknown_worth() -> None:
    trip = trip_of()
    trip.pay("payment-1", 10 * NS, FAST_NS, without=["jack"])
    alone = trip.note("jack", "agent_started", 30 * NS, wall_ahead_ms=2_000)
    alignment = align(trip)
    clock = ClockId("jack", "boot-1")
    assert alignment.basis(clock) is Basis.WALL
    at_us, within_us = alignment.at_us("jack", "boot-1", alone.mono_ns // 1000)
    assert within_us == math.inf
    assert abs(at_us - 82_000_000) < 2_000  # 30 s, by a server's clock of 50 s, and 2 s wrong
    server = (ClockId("server", "boot-1"), 0)
    assert alignment.order((clock, alone.mono_ns), server) is Relation.UNDECIDED


def test_without_messages_beacons_tie_a_jack_within_seconds() -> None:
    trip = trip_of()
    trip.pay("payment-1", 10 * NS, FAST_NS, without=["jack"])
    trip.note("jack", "beacon_rotated", 20 * NS, handle="3f2a", wall_ahead_ms=-(10**9))
    for at_s in range(21, 30):
        trip.note("terminal", "code_heard", at_s * NS, jack="3f2a", rssi_dbm=-60)
    trip.note("jack", "beacon_rotated", 30 * NS, handle="77aa")
    alignment = align(trip)
    assert alignment.basis(ClockId("jack", "boot-1")) is Basis.BEACONS
    assert_true(trip, alignment)
    jack = next(c for c in alignment.clocks if c.id.machine == "jack")
    assert jack.best_ns < 4 * NS


def test_messages_that_cannot_be_true_are_stated_and_not_used() -> None:
    trip = trip_of()
    trip.pay("payment-1", 10 * NS, FAST_NS)
    phone = next(record for record in trip.agents if record.party == "phone")
    trip.pay("payment-2", 20 * NS, FAST_NS)
    late = [e.mono_ns + (5 * NS if e.payment == "payment-2" else 0) for e in phone.events]
    phone.events = [replace(e, mono_ns=at) for e, at in zip(phone.events, late, strict=True)]
    alignment = align(trip)
    assert len(alignment.statements) >= 1
    assert "cannot all be true" in alignment.statements[0]
    assert "phone" in alignment.statements[0]
    assert "payment-2" in alignment.statements[0]
    assert alignment.basis(ClockId("phone", "boot-1")) is Basis.WALL
    # What the phone has nothing to do with stays as good as it was.
    assert alignment.basis(ClockId("terminal", "boot-1")) is Basis.MESSAGES


def test_a_record_that_begins_within_a_payment_says_nothing_of_it() -> None:
    """The terminal asked twice, and its ring has lost the first time."""
    trip = trip_of()
    trip.note("server", "request_received", 10 * NS, "payment-1")
    trip.note("terminal", "request_sent", 11 * NS, "payment-1")
    trip.note("server", "request_received", 12 * NS, "payment-1")
    alignment = align(trip)
    assert alignment.statements == ()
    assert alignment.basis(ClockId("terminal", "boot-1")) is Basis.WALL


def test_an_answer_of_another_kind_orders_nothing() -> None:
    """A refusal may come before the server has judged any confirmation of the payment."""
    trip = trip_of()
    trip.note("phone", "confirmation_answered", 10 * NS, "payment-1", status_code=503)
    trip.note("server", "confirmation_received", 12 * NS, "payment-1")
    assert align(trip).basis(ClockId("phone", "boot-1")) is Basis.WALL


def test_a_lane_that_a_jack_heard_ties_the_two() -> None:
    trip = trip_of()
    trip.pay("payment-1", 10 * NS, FAST_NS)
    trip.note("terminal", "jack_chosen", 20 * NS, "payment-2", jack="3f2a")
    trip.note("terminal", "lane_broadcast", 20 * NS + 3 * MS, "payment-2", lane="abcdefgh")
    trip.note("jack", "lane_heard", 20 * NS + 9 * MS, lane="abcdefgh", rssi_dbm=-60)
    alignment = align(trip)
    assert_true(trip, alignment)


def test_a_wall_clock_that_was_set_is_found() -> None:
    trip = trip_of()
    trip.note("phone", "agent_started", 1 * NS)
    trip.note("phone", "server_connected", 2 * NS, wall_ahead_ms=49)
    trip.note("phone", "server_lost", 3 * NS, wall_ahead_ms=3_600_049)
    steps = align(trip).steps
    assert [(step.agent, step.by_ms) for step in steps] == [("phone-1", 3_600_000)]
    assert steps[0].trust == ("system", "system")


def test_where_the_truth_is_known_the_timeline_is_compared_with_it() -> None:
    trip = trip_of()
    trip.pay("payment-1", 10 * NS, FAST_NS)
    trip.pay("payment-2", 600 * NS, FAST_NS)
    offsets = {
        name: [[machine.reads_ns(0) // 1000, 0, machine.boot]]
        for name, machine in trip.machines.items()
    }
    alignment = align(trip)
    found = {one.clock.machine: one for one in clock_truths(alignment, told(offsets))}
    assert set(found) == {"jack", "phone", "terminal"}
    assert all(one.inside and one.worst_ms < 40 for one in found.values())
    offsets["jack"] = [[mono_us, 10**6, boot] for mono_us, _, boot in offsets["jack"]]
    lied = {one.clock.machine: one for one in clock_truths(alignment, told(offsets))}
    assert not lied["jack"].inside
    assert clock_truths(alignment, None) == []


def told(offsets: dict[str, list[list[Any]]]) -> dict[str, Any]:
    return {"clock_offsets_us": offsets}


def test_one_machine_is_one_clock() -> None:
    desk = Machine("desk", offset_ns=5 * NS)
    trip = Trip(dict.fromkeys(("server", *PARTIES), desk))
    trip.pay("payment-1", 10 * NS, FAST_NS)
    alignment = align(trip)
    assert [clock.basis for clock in alignment.clocks] == [Basis.REFERENCE]
    assert alignment.clocks[0].agents == ("jack-1", "phone-1", "server-1", "terminal-1")


def test_nothing_recorded_is_an_empty_timeline() -> None:
    assert align(Trip({})).clocks == ()

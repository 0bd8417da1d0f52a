"""A jack that no message ties is tied by the time that the server signed; the truth is inside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldkit.trace import TraceEvent
from fieldkit.trials.alignment import Alignment, Basis, align
from fieldkit.trials.archive import Trial
from fieldkit.trials.bounds import ClockId
from fieldkit.trials.clock_truth import clock_truths
from tests.fieldkit.trials.machines import NS, WALL_MS, Machine, Trip
from tests.fieldkit.trials.test_alignment import assert_true, offsets_ns, rates, trip_of

MS = NS // 1000
EXAMPLE = Path(__file__).parents[3] / "seeds" / "trials" / "example.trial"
JACK = ClockId("jack", "boot-1")
FAST_NS = (5 * MS,) * 8


def learn(trip: Trip, at_ns: int, there_ns: int, back_ns: int, noted_ns: int) -> int:
    """The jack hands a nonce out; the server signs, the statement comes, the line is written.

    As the jack computes it (cigarjack/clock_rules.py). When it was over.
    """
    jack = trip.machines["jack"]
    signed_ns = at_ns + there_ns
    came_ns = signed_ns + back_ns
    over_ns = came_ns + noted_ns
    asked_ms, came_ms, over_ms = (jack.reads_ns(t) // MS for t in (at_ns, came_ns, over_ns))
    wall_ms = WALL_MS + signed_ns // MS + over_ms - came_ms
    ahead_ms = wall_ms - WALL_MS - over_ns // MS
    trip.note("jack", "beacon_silent", at_ns, wall_ahead_ms=-(10**9), reason="starting")
    trip.note(
        *("jack", "clock_synchronised", over_ns, None, ahead_ms), uncertainty_ms=came_ms - asked_ms
    )
    trip.note("jack", "beacon_rotated", over_ns + MS, None, ahead_ms, handle="77aa")
    return over_ns


def as_the_jack_trusts(trip: Trip) -> None:
    """Its lines say of which worth the wall clock is."""
    for record in trip.agents:
        if record.party == "jack":
            learned = False
            for place, event in enumerate(record.events):
                learned = learned or event.event == "clock_synchronised"
                trust = "server" if learned else "unsynchronised"
                record.events[place] = replace(event, clock=trust)


def alone(
    trip: Trip, there_ns: int = 5 * MS, back_ns: int = 20 * MS, noted_ns: int = 3 * MS
) -> Alignment:
    """The jack takes part in no payment. The server notes something before and after."""
    trip.pay("payment-1", 10 * NS, FAST_NS, without=["jack"])
    over_ns = learn(trip, 30 * NS, there_ns, back_ns, noted_ns)
    trip.pay("payment-2", over_ns + 40 * NS, FAST_NS, without=["jack"])
    as_the_jack_trusts(trip)
    return align(trip)


waits_ns = st.integers(0, 5 * NS)


@given(offsets_ns, rates(), waits_ns, waits_ns, st.integers(0, NS))
@settings(max_examples=150, deadline=None)
def test_the_truth_is_always_inside(
    offset_ns: int, rates_ppm: list[float], there_ns: int, back_ns: int, noted_ns: int
) -> None:
    trip = trip_of(jack=Machine("jack", offset_ns, rates_ppm))
    alignment = alone(trip, there_ns, back_ns, noted_ns)
    assert alignment.basis(JACK) is Basis.SIGNED
    assert alignment.statements == ()
    assert_true(trip, alignment)


def test_it_is_as_good_as_half_of_the_round_trip() -> None:
    alignment = alone(trip_of())
    (jack,) = (clock for clock in alignment.clocks if clock.id == JACK)
    # 25 ms there and back, and ten at either side for what is rounded.
    assert 12 * MS < jack.best_ns < 25 * MS


def test_messages_are_better_and_come_first() -> None:
    trip = trip_of()
    over_ns = learn(trip, 5 * NS, 5 * MS, 20 * MS, 3 * MS)
    trip.pay("payment-1", over_ns + NS, FAST_NS)
    as_the_jack_trusts(trip)
    assert align(trip).basis(JACK) is Basis.MESSAGES


def server_later(trip: Trip, by_ms: int) -> None:
    """Its wall clock was moved between the payments."""
    server = next(record for record in trip.agents if record.party == "server")
    server.events = [
        replace(e, wall_ms=e.wall_ms + by_ms) if e.payment == "payment-2" else e
        for e in server.events
    ]


def set_forward(trip: Trip) -> None:
    server_later(trip, by_ms=100)


def slewed(trip: Trip) -> None:
    server_later(trip, by_ms=20)


def second_server(trip: Trip) -> None:
    trip.machines["server"] = Machine("server-b")
    trip.note("server", "agent_started", 20 * NS)


def torn(trip: Trip) -> None:
    """The jack was switched out between its two clocks."""
    jack = next(record for record in trip.agents if record.party == "jack")
    jack.events = [
        replace(e, wall_ms=e.wall_ms + 300) if e.event == "clock_synchronised" else e
        for e in jack.events
    ]


def knew_already(trip: Trip) -> None:
    jack = next(record for record in trip.agents if record.party == "jack")
    jack.events = [replace(e, clock="server") for e in jack.events]


def not_over_yet(trip: Trip) -> None:
    """The server's record ends before, so that its wall clock then is not known."""
    server = next(record for record in trip.agents if record.party == "server")
    server.events = [e for e in server.events if e.payment == "payment-1"]


@pytest.mark.parametrize(
    "spoil", [set_forward, slewed, second_server, torn, knew_already, not_over_yet]
)
def test_what_cannot_be_relied_on_is_not_used(spoil: Callable[[Trip], None]) -> None:
    trip = trip_of()
    assert alone(trip).basis(JACK) is Basis.SIGNED
    spoil(trip)
    assert align(trip).basis(JACK) is Basis.WALL


def test_of_a_played_trial_the_truth_is_inside() -> None:
    """The jack that woke in 1970, without the payments that it took part in afterwards."""
    trial = Trial.open(EXAMPLE)
    joon = next(record for record in trial.agents if record.agent == "joon-jack")
    boot = joon.events[-1].boot
    silent = replace(joon, events=tuple(e for e in joon.events if e.boot != boot or is_own(e)))
    agents = tuple(silent if record is joon else record for record in trial.agents)
    alignment = align(replace(trial, agents=agents))
    assert alignment.basis(ClockId("joon-jack", boot)) is Basis.SIGNED
    (found,) = (t for t in clock_truths(alignment, trial.truth) if t.clock.boot == boot)
    assert found.inside
    assert found.worst_ms < 30
    (clock,) = (clock for clock in alignment.clocks if clock.id.boot == boot)
    # The round trip took 35 ms; it noted something until half a minute later.
    assert clock.worst_ns < 35 * MS


def is_own(event: TraceEvent) -> bool:
    """Not of a message to or from somebody else."""
    return event.payment is None and event.event != "lane_heard"

"""What is told as a cause was at the payment, wherever within its bounds it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fieldkit.trials.attempts import attempts
from fieldkit.trials.blindness import Blindness, blind_windows
from fieldkit.trials.causes import UNEXPLAINED, Cause, cause
from fieldkit.trials.incidents import Kind, incidents
from fieldkit.trials.scene import Scene
from fieldkit.trials.timeline import lay_out
from tests.fieldkit.trials.machines import NS, Machine, Trip
from tests.fieldkit.trials.recordings import ASKED_NS, MS, PAYMENT, laid_out, pay
from tests.fieldkit.trials.test_alignment import PARTIES
from tests.fieldkit.trials.test_causes import missed
from tests.fieldkit.trials.test_figures import heard

#: The jack's second boot was so much later than its wall clock makes believe.
LATER_S = 83 * 60


def judged(play: Callable[[Trip], object]) -> Cause:
    timeline = laid_out(play)
    return cause(Scene(attempts(timeline)[0], timeline))


def noted_later(trip: Trip, event: str, apparent_ns: int, **fields: Any) -> None:
    """By another boot of the jack, that nothing ties, with a wall clock that is behind."""
    trip.machines["jack"] = Machine("desk", boot="boot-2")
    true_ns = apparent_ns + LATER_S * NS
    trip.note("jack", event, true_ns, None, -LATER_S * 1000, **fields)


def test_a_boot_that_nothing_ties_is_not_told_as_the_cause() -> None:
    def play(trip: Trip) -> None:
        over_ns = pay(trip, until="jack challenge_received")
        noted_later(trip, "agent_started", over_ns + 20 * NS)

    assert judged(play).name == "jack_unreachable"


def test_that_it_cannot_be_told_is_said_where_nothing_else_explains() -> None:
    def play(trip: Trip) -> None:
        over_ns = pay(trip, until="server payment_confirmed")
        noted_later(trip, "agent_started", over_ns)

    found = judged(play)
    assert found.name == UNEXPLAINED
    assert "Whether it was a new start of the jack cannot be told" in found.text
    assert [h.name for h in found.finding.evidence] == ["payment_confirmed", "agent_started"]


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        ("radio_lost", {"reason": "adapter_gone"}),
        ("beacon_silent", {"reason": "inviting"}),
    ],
)
def test_no_state_is_told_of_a_jack_whose_time_is_not_known(
    event: str, fields: dict[str, str]
) -> None:
    def play(trip: Trip) -> None:
        missed("none_heard")(trip)
        noted_later(trip, event, ASKED_NS - NS, **fields)

    found = judged(play)
    # Neither that it was silent nor that it was sending.
    assert (found.name, found.text) == ("no_jack", "No jack was heard at the lane.")


def test_a_loss_is_not_told_if_it_may_have_been_over() -> None:
    def play(trip: Trip) -> None:
        missed("none_heard", ("jack", "radio_lost", {"reason": "adapter_gone"}))(trip)
        noted_later(trip, "radio_recovered", ASKED_NS + NS, rung="power_cycle")

    assert judged(play).name == "no_jack"


def slow_with_a_start(at_ns: int) -> Cause:
    """Of the phone, whose clock is known to a second or so, and the payment takes four."""
    trip = Trip({party: Machine(party, 50 * NS) for party in ("server", *PARTIES)})
    second = dict.fromkeys(("server request_received", "phone challenge_received"), 1000)
    trip.note("phone", "server_connected", NS)
    over_ns = pay(trip, delays_ms=second | {"server confirmation_received": 1000})
    trip.note("phone", "agent_started", over_ns + at_ns)
    for record in trip.agents:
        record.events.sort(key=lambda event: event.mono_ns)
    timeline = lay_out(trip)
    (attempt,) = attempts(timeline)
    return cause(Scene(attempt, timeline))


def test_a_start_that_may_have_been_after_the_payment_is_not_its_cause() -> None:
    assert slow_with_a_start(-1500 * MS).name == "slow_restart"
    assert slow_with_a_start(-100 * MS).name == UNEXPLAINED


def blind_beside(rotated_s: float, silent_s: float) -> list[Blindness]:
    """For three seconds from the tenth on, with a jack whose clock is known to a second or so."""
    trip = Trip({party: Machine(party, 50 * NS) for party in ("server", *PARTIES)})
    pay(
        trip, delays_ms=dict.fromkeys(("jack challenge_received", "phone auth_code_received"), 1000)
    )
    for at_s in (10, 13):
        heard(trip, at_s)
    trip.note("jack", "beacon_rotated", int(rotated_s * NS), handle="3f2a")
    trip.note("jack", "beacon_silent", int(silent_s * NS), reason="inviting")
    for record in trip.agents:
        record.events.sort(key=lambda event: event.mono_ns)
    return blind_windows(lay_out(trip))


def test_a_lane_is_blind_only_if_a_jack_was_sending_all_the_while_for_sure() -> None:
    (window,) = blind_beside(7, 16)
    assert window.length_s == pytest.approx(3, abs=0.01)
    assert 0 < window.within_ns < NS
    assert blind_beside(9.5, 16) == []
    assert blind_beside(7, 13.5) == []


def test_a_lane_is_not_blind_for_a_time_of_which_nobody_knows_the_length() -> None:
    def play(trip: Trip) -> None:
        heard(trip, 10)
        trip.machines["terminal"] = Machine("desk", boot="boot-2")
        trip.note("terminal", "agent_started", 12 * NS)
        heard(trip, 13)

    assert blind_windows(laid_out(play)) == []


def test_a_jack_is_up_only_if_what_it_noted_was_meanwhile_for_sure() -> None:
    def play(trip: Trip) -> None:
        pay(trip, payment=PAYMENT, at_ns=10 * NS)
        trip.note("phone", "jack_lost", 16 * NS, jack="J")
        trip.note("phone", "jack_found", 20 * NS, jack="J")
        noted_later(trip, "called", 18 * NS)

    (told,) = (found.text for found in incidents(laid_out(play)) if found.kind is Kind.WIFI)
    assert told == "the jack did not answer over Wi-Fi; found again after 4.0 s"

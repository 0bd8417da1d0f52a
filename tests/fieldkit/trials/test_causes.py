"""Each cause from a trace that shows it, and none from one that does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fieldkit.trials.attempts import attempts
from fieldkit.trials.causes import FAILURES, SLOWNESS, UNEXPLAINED, Cause, cause
from fieldkit.trials.figures import figures
from fieldkit.trials.scene import Scene
from tests.fieldkit.trials.machines import NS, Machine, Trip
from tests.fieldkit.trials.recordings import ASKED_NS, MS, PAYMENT, laid_out, pay

Play = Callable[[Trip], object]

LATER = "01890a5d-ac96-774b-bcce-b302099a8058"
NOT_CHOSEN = "terminal charge_asked"
DECLINED = {"decision": "decline"}


def missed(reason: str, *before: tuple[str, str, dict[str, Any]]) -> Play:
    """The till asks, and no jack is chosen; ``before``: what was noted in the second before."""

    def play(trip: Trip) -> None:
        for party, event, fields in before:
            trip.note(party, event, ASKED_NS - NS, None, **fields)
        pay(trip, until=NOT_CHOSEN)
        trip.note("terminal", "jack_not_chosen", ASKED_NS + 1500 * MS, PAYMENT, reason=reason)

    return play


def answered(reason: str, by: str, wait_ms: int = 2) -> Play:
    """The phone declines, and so the payment is declined."""
    decision = DECLINED | {"decided_by": by, "reason": reason}

    def play(trip: Trip) -> None:
        over_ns = pay(
            trip,
            until="server confirmation_received",
            delays_ms={"phone decision": wait_ms},
            fields={"phone decision": decision, "server confirmation_received": DECLINED},
        )
        trip.note("server", "payment_status", over_ns, PAYMENT, status="declined")
        trip.note("terminal", "payment_settled", over_ns + MS, PAYMENT, status="declined")

    return play


def canceled(trip: Trip) -> None:
    over_ns = pay(trip, until="phone challenge_received")
    trip.note("terminal", "payment_settled", over_ns + NS, PAYMENT, status="canceled")


def boots_again(trip: Trip, party: str, at_ns: int) -> None:
    """By a payment a minute later the boot is on the timeline."""
    trip.machines[party] = Machine("desk", boot="boot-2")
    trip.note(party, "agent_started", at_ns)
    pay(trip, payment=LATER, at_ns=at_ns + 60 * NS)


def power_cut(trip: Trip) -> None:
    over_ns = pay(trip, until="jack challenge_received")
    boots_again(trip, "jack", over_ns + 20 * NS)


def rebooted(trip: Trip) -> None:
    over_ns = pay(trip, until="jack challenge_received")
    trip.note("jack", "agent_stopped", over_ns + NS)
    boots_again(trip, "jack", over_ns + 20 * NS)


def phone_rebooted(trip: Trip) -> None:
    over_ns = pay(trip, until="phone auth_code_asked")
    boots_again(trip, "phone", over_ns + 20 * NS)


def phone_off_for_longer(trip: Trip) -> None:
    over_ns = pay(trip, until="phone auth_code_received")
    trip.note("server", "payment_status", over_ns + 60 * NS, PAYMENT, status="expired")
    trip.note("terminal", "payment_settled", over_ns + 61 * NS, PAYMENT, status="expired")
    boots_again(trip, "phone", over_ns + 70 * NS)


def phone_restarted(trip: Trip) -> None:
    over_ns = pay(trip, until="phone auth_code_asked")
    trip.note("phone", "agent_started", over_ns + NS)


def unheard_server(trip: Trip) -> None:
    pay(trip, until="terminal request_sent")
    trip.note("terminal", "request_sent", ASKED_NS + 5 * NS, PAYMENT)


def refused_request(trip: Trip) -> None:
    over_ns = pay(trip, until="server request_received")
    trip.note(
        "terminal", "request_answered", over_ns, PAYMENT, status_code=404, code="code_unknown"
    )


def phone_offline(trip: Trip) -> None:
    trip.note("phone", "server_lost", ASKED_NS - 3 * NS)
    pay(trip, until="server challenge_issued")


def refused_by_jack(trip: Trip) -> None:
    over_ns = pay(trip, until="jack challenge_received")
    trip.note("jack", "challenge_refused", over_ns, PAYMENT, code="epoch_outdated")


def wifi_gone(trip: Trip) -> None:
    over_ns = pay(trip, until="phone auth_code_asked")
    trip.note("phone", "gatt_tried", over_ns + NS, PAYMENT)
    trip.note("phone", "jack_lost", over_ns + 2 * NS, jack="J")


def lost_confirmation(trip: Trip) -> None:
    over_ns = pay(trip, until="phone confirmation_sent")
    trip.note("phone", "server_lost", over_ns + NS)


def refused_confirmation(trip: Trip) -> None:
    over_ns = pay(trip, until="server confirmation_received")
    trip.note("server", "confirmation_refused", over_ns, PAYMENT, code="counter_reused")


def processor_says(outcome: str, status: str) -> Play:
    def play(trip: Trip) -> None:
        over_ns = pay(
            trip,
            until="server processor_answered",
            fields={"server processor_answered": {"outcome": outcome}},
        )
        trip.note("server", "payment_status", over_ns + MS, PAYMENT, status=status)
        if status == "refused":
            trip.note("terminal", "payment_settled", over_ns + NS, PAYMENT, status=status)

    return play


def untold(trip: Trip) -> None:
    pay(trip, until="server payment_status")


FAILED: dict[str, tuple[str, Play]] = {
    "owner_declined": ("The owner declined.", answered("owner_answered", "owner")),
    "canceled": ("The payment was canceled", canceled),
    "power_cut": ("The machine of the jack lost its power", power_cut),
    "restarted": ("The phone's agent was restarted at", phone_restarted),
    "terminal_radio": (
        "The terminal had lost its Bluetooth radio at 00:01:39.000 (bluetoothd restarted).",
        missed("none_heard", ("terminal", "radio_lost", {"reason": "bluetoothd_restarted"})),
    ),
    "jack_radio": (
        "The jack had lost its Bluetooth radio",
        missed("none_heard", ("jack", "radio_lost", {"reason": "adapter_gone"})),
    ),
    "jack_silent": (
        "The jack sent no payable code, for it did not know the time yet.",
        missed("none_heard", ("jack", "beacon_silent", {"reason": "clock_unsynchronised"})),
    ),
    "ambiguous": ("The lane was ambiguous", missed("equally_near")),
    "no_jack": ("No jack was heard at the lane, although one was sending", missed("none_heard")),
    "request_refused": ("The server refused the request: code unknown.", refused_request),
    "request_lost": ("the request was sent 2 times in vain", unheard_server),
    "phone_offline": ("whose connection to the server was lost at", phone_offline),
    "jack_refused": ("The jack refused the challenge: epoch outdated.", refused_by_jack),
    "jack_unreachable": ("Wi-Fi was lost at", wifi_gone),
    "presence": ("The merchant requires", answered("presence_required", "policy")),
    "owner_silent": ("The owner did not answer within", answered("owner_silent", "timeout")),
    "confirmation_lost": ("whose connection was lost at", lost_confirmation),
    "confirmation_refused": ("refused the confirmation: counter reused", refused_confirmation),
    "processor_refused": ("The card processor declined", processor_says("refused", "refused")),
    "processor_unknown": ("did not say what became", processor_says("unknown", "unknown")),
    "outcome_lost": ("The server had it as captured", untold),
}


def slow(step: str, *, noted: Play = lambda _trip: None, **fields: object) -> Play:
    """A payment that goes well, with four seconds before ``step``."""

    def play(trip: Trip) -> None:
        noted(trip)
        changed = {step: fields} if fields else {}
        pay(trip, delays_ms={step: 4_000}, fields=changed)

    return play


def again(party: str, event: str) -> Play:
    def play(trip: Trip) -> None:
        trip.note(party, event, ASKED_NS + 20 * MS, PAYMENT)
        pay(trip, delays_ms={f"{party} {event}": 4_000})

    return play


def jack_was_lost(trip: Trip) -> None:
    trip.note("phone", "jack_lost", ASKED_NS - NS, jack="J")


def phone_was_lost(trip: Trip) -> None:
    trip.note("phone", "server_lost", ASKED_NS - NS)


def server_again(trip: Trip) -> None:
    trip.note("server", "agent_started", ASKED_NS + NS)


SLOW: dict[str, tuple[str, Play]] = {
    "slow_restart": (
        "The server's agent was restarted in between",
        slow("server payment_status", noted=server_again),
    ),
    "slow_gatt": (
        "the auth code came over Bluetooth, 4.0 s after it was asked for",
        slow("phone auth_code_received", presence=True, path="gatt"),
    ),
    "slow_wifi": (
        "The jack was not reached over Wi-Fi at first",
        slow("phone auth_code_received", noted=jack_was_lost, presence=True, path="wifi"),
    ),
    "slow_presence": (
        "The jack waited 4.0 s for the lane's nonce and did not hear it.",
        slow("jack auth_code_signed", counter=1, presence=False),
    ),
    "slow_choice": (
        "It took 4.0 s until it was clear which jack was at the lane",
        slow("terminal jack_chosen", jack="3f2a", rssi_dbm=-60, others=1),
    ),
    "slow_request": ("send its request 2 times", again("terminal", "request_sent")),
    "slow_phone": (
        "the challenge came 4.0 s late",
        slow("phone challenge_received", noted=phone_was_lost),
    ),
    "slow_confirmation": (
        "send its confirmation 2 times",
        again("phone", "confirmation_sent"),
    ),
    "slow_processor": (
        "The card processor took 4.0 s.",
        slow("server processor_answered", outcome="approved"),
    ),
}


def judged(play: Play) -> Cause:
    timeline = laid_out(play)
    attempt = attempts(timeline)[0]
    return cause(Scene(attempt, timeline))


@pytest.mark.parametrize("name", FAILED | SLOW)
def test_a_cause_is_told_from_its_traces(name: str) -> None:
    text, play = (FAILED | SLOW)[name]
    found = judged(play)
    assert (found.name, text in found.text) == (name, True), found.text
    assert found.text.endswith(".")


def test_every_rule_is_tried_and_says_what_it_wants_to_see() -> None:
    assert [rule.name for rule in FAILURES] == list(FAILED)
    assert [rule.name for rule in SLOWNESS] == list(SLOW)
    assert all(len(rule.seen) > 20 for rule in (*FAILURES, *SLOWNESS))


def test_a_jack_whose_radio_was_off_cannot_hear_the_lane() -> None:
    def without_radio(trip: Trip) -> None:
        trip.note("jack", "beacon_silent", ASKED_NS + MS, reason="radio_off")
        answered("presence_required", "policy")(trip)

    assert judged(without_radio).text.endswith("it did not, for its radio was off.")


def test_an_ambiguous_lane_names_those_between_whom_it_could_not_tell() -> None:
    def two(trip: Trip) -> None:
        missed("equally_near")(trip)
        near = [{"jack": "3f2a", "rssi_dbm": -61}, {"jack": "77aa", "rssi_dbm": -63}]
        decided: dict[str, Any] = {"asked": "charge", "outcome": "ambiguous", "candidates": near}
        trip.note("terminal", "lane_decision", ASKED_NS + 1499 * MS, PAYMENT, **decided)

    assert judged(two).text.endswith("equally near (3f2a with -61 dBm, 77aa with -63 dBm).")


def test_an_orderly_end_is_no_power_cut() -> None:
    assert "The machine of the jack was rebooted, or lost its power after" in judged(rebooted).text


def test_an_end_that_nobody_noted_is_one() -> None:
    assert "The machine of the phone lost its power or was reset" in judged(phone_rebooted).text


def test_a_phone_without_power_is_the_cause_though_the_payment_is_over_when_it_is_back() -> None:
    found = judged(phone_off_for_longer)
    assert found.name == "power_cut"
    assert "The machine of the phone lost its power or was reset" in found.text


def test_a_jack_that_loses_its_power_after_the_payment_is_no_cause() -> None:
    """So does every jack when its car is parked."""

    def parked(trip: Trip) -> None:
        trip.note("jack", "beacon_rotated", ASKED_NS - NS, handle="3f2a")
        over_ns = pay(trip, until="phone auth_code_asked")
        trip.note("terminal", "payment_settled", over_ns + 60 * NS, PAYMENT, status="expired")
        trip.machines["jack"] = Machine("desk", boot="boot-2")
        trip.note("jack", "agent_started", over_ns + 70 * NS)

    assert judged(parked).name == "jack_unreachable"


def test_a_phone_that_noted_something_after_the_payment_was_not_off_till_then() -> None:
    def tunnel(trip: Trip) -> None:
        over_ns = pay(trip, until="server challenge_issued")
        trip.note("terminal", "payment_settled", over_ns + 60 * NS, PAYMENT, status="expired")
        trip.note("phone", "server_connected", over_ns + 65 * NS)
        trip.machines["phone"] = Machine("desk", boot="boot-2")
        trip.note("phone", "agent_started", over_ns + 70 * NS)

    assert judged(tunnel).name == "phone_offline"


def test_what_no_rule_explains_is_said_to_be_unexplained() -> None:
    def vanished(trip: Trip) -> None:
        pay(trip, until="server payment_confirmed")

    found = judged(vanished)
    assert found.name == UNEXPLAINED
    assert found.text.startswith("Not explained by the recording: the last that any party noted")


def test_a_slow_leg_without_a_trace_of_why_is_named_and_not_explained() -> None:
    found = judged(slow("server confirmation_received", decision="approve"))
    assert found.name == UNEXPLAINED
    assert "the leg that took most is confirmed, with 4.0 s" in found.text


def test_a_restart_that_did_no_harm_is_no_cause() -> None:
    def declined(trip: Trip) -> None:
        trip.note("jack", "agent_started", ASKED_NS - 5 * NS)
        processor_says("refused", "refused")(trip)

    assert judged(declined).name == "processor_refused"


def test_a_restart_of_whoever_was_not_needed_is_no_cause() -> None:
    def unsure(trip: Trip) -> None:
        for party in ("phone", "server"):
            trip.note(party, "agent_started", ASKED_NS - 5 * NS)
        trip.machines["jack"] = Machine("desk", boot="boot-2")
        trip.note("jack", "agent_started", ASKED_NS - 4 * NS)
        missed("equally_near")(trip)

    assert judged(unsure).name == "ambiguous"


def test_a_payment_that_went_well_has_no_cause() -> None:
    found = figures("trial", laid_out(pay))
    assert [one.cause for one in found.judged] == [None]
    assert found.success.events == found.success.trials == 1


def test_the_owners_time_does_not_make_a_payment_slow() -> None:
    def thinking(trip: Trip) -> None:
        trip.note("phone", "prompt_shown", ASKED_NS + 30 * MS, PAYMENT)
        by_owner = {"decision": "approve", "decided_by": "owner", "reason": "owner_answered"}
        pay(trip, delays_ms={"phone decision": 9_000}, fields={"phone decision": by_owner})

    (one,) = figures("trial", laid_out(thinking)).judged
    assert one.attempt.legs.total_ms is not None
    assert one.attempt.legs.total_ms > 9_000
    assert (one.slow, one.cause) == (False, None)


def test_an_owner_who_is_asked_again_after_a_power_cut_did_not_think_meanwhile() -> None:
    def cut_while_asked(trip: Trip) -> None:
        trip.note("phone", "prompt_shown", ASKED_NS + 30 * MS, PAYMENT)
        trip.machines["phone"] = Machine("desk", boot="boot-2")
        trip.note("phone", "agent_started", ASKED_NS + 8_000 * MS)
        trip.note("phone", "prompt_shown", ASKED_NS + 9_000 * MS, PAYMENT)
        by_owner = {"decision": "approve", "decided_by": "owner", "reason": "owner_answered"}
        pay(trip, delays_ms={"phone decision": 9_500}, fields={"phone decision": by_owner})

    (one,) = figures("trial", laid_out(cut_while_asked)).judged
    assert one.attempt.thought_ms < 1_000
    assert one.cause is not None
    assert one.cause.name == "slow_restart"


def test_a_restart_before_the_question_does_not_hide_one_after_it() -> None:
    def twice(trip: Trip) -> None:
        trip.note("server", "agent_started", ASKED_NS - 5 * NS)
        slow("server payment_status", noted=server_again)(trip)

    assert judged(twice).name == "slow_restart"

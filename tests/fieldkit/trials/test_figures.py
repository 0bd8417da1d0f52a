"""What a trial comes to, from hand-made traces."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence

import pytest

from fieldkit.trials.attempts import Outcome, attempts
from fieldkit.trials.blindness import blind_windows
from fieldkit.trials.documents import document, tables
from fieldkit.trials.figures import figures
from fieldkit.trials.incidents import Kind, incidents
from fieldkit.trials.lane_truth import AtLane, Decided, presences
from tests.fieldkit.trials.machines import NS, Machine, Trip
from tests.fieldkit.trials.recordings import ASKED_NS, MS, laid_out, pay
from tests.fieldkit.trials.test_causes import SLOW


def payment(number: int) -> str:
    return f"01890a5d-ac96-774b-bcce-b3020000{number:04d}"


def three(trip: Trip) -> None:
    """One is paid, one declined by its owner, one has no jack."""
    pay(trip, payment=payment(1), at_ns=100 * NS)
    decision = {"decision": "decline", "decided_by": "owner", "reason": "owner_answered"}
    over_ns = pay(
        trip,
        payment=payment(2),
        at_ns=200 * NS,
        until="server confirmation_received",
        fields={"phone decision": decision},
    )
    trip.note("terminal", "payment_settled", over_ns, payment(2), status="declined")
    pay(trip, payment=payment(3), at_ns=300 * NS, until="terminal charge_asked")
    trip.note("terminal", "jack_not_chosen", 302 * NS, payment(3), reason="too_weak")


def test_success_is_counted_with_and_without_what_its_owner_did_not_want() -> None:
    found = figures("trial", laid_out(three))
    assert (found.success.events, found.success.trials) == (1, 3)
    assert (found.wanted.events, found.wanted.trials) == (1, 2)
    assert found.causes == Counter({"owner declined": 1, "no jack at the lane": 1})
    assert [one.attempt.outcome for one in found.judged] == [
        Outcome.PAID,
        Outcome.DECLINED,
        Outcome.FAILED,
    ]


def test_legs_are_those_of_what_was_paid() -> None:
    found = figures("trial", laid_out(three))
    assert found.legs["total"].count == 1
    assert found.legs["heard"].median == 2.0


def test_trouble_is_listed_failures_first() -> None:
    def play(trip: Trip) -> None:
        SLOW["slow_gatt"][1](trip)
        pay(trip, payment=payment(9), at_ns=400 * NS, until="terminal charge_asked")
        trip.note("terminal", "jack_not_chosen", 402 * NS, payment(9), reason="equally_near")

    found = figures("trial", laid_out(play))
    assert [one.attempt.outcome for one in found.troubled] == [Outcome.FAILED, Outcome.PAID]


def test_the_jack_is_known_by_its_code_where_nothing_else_tells() -> None:
    timeline = laid_out(lambda trip: pay(trip, until="terminal request_sent"))
    (attempt,) = attempts(timeline)
    assert (attempt.terminal, attempt.jack, attempt.phone) == ("terminal-1", "jack-1", "")


def test_the_lane_that_the_jack_heard_is_of_the_payment() -> None:
    def play(trip: Trip) -> None:
        pay(trip)
        trip.note(
            "terminal",
            "lane_broadcast",
            ASKED_NS,
            "01890a5d-ac96-774b-bcce-b302099a8057",
            lane="abcdefgh",
        )
        trip.note("jack", "lane_heard", ASKED_NS + 9 * MS, lane="abcdefgh", rssi_dbm=-60)
        trip.note("jack", "lane_heard", ASKED_NS + 9 * MS, lane="other", rssi_dbm=-60)
        # Another car hears the lane first, and has nothing to do with the payment.
        trip.machines["jack"] = Machine("other-car", boot="boot-3")
        trip.note("jack", "lane_heard", ASKED_NS + MS, lane="abcdefgh", rssi_dbm=-80)

    (attempt,) = attempts(laid_out(play))
    assert attempt.jack_machine == "desk"
    assert [
        (h.field("lane"), h.field("rssi_dbm")) for h in attempt.own if h.name == "lane_heard"
    ] == [("abcdefgh", -60)]


def heard(trip: Trip, at_s: float, rssi_dbm: int = -60) -> None:
    trip.note("terminal", "code_heard", int(at_s * NS), jack="3f2a", rssi_dbm=rssi_dbm)


def test_a_gap_while_a_jack_is_near_and_sending_is_blindness() -> None:
    def play(trip: Trip) -> None:
        for at_s in (10.0, 10.1, 12.5, 12.6):
            heard(trip, at_s)
        trip.note("terminal", "radio_lost", 11 * NS, reason="adapter_gone")

    (window,) = blind_windows(laid_out(play))
    assert (window.from_ns, window.to_ns) == (int(10.1 * NS), int(12.5 * NS))
    assert window.why == "radio lost: adapter_gone"


def test_a_gap_without_a_reason_is_told_as_such() -> None:
    def play(trip: Trip) -> None:
        heard(trip, 10)
        heard(trip, 13)

    (window,) = blind_windows(laid_out(play))
    assert window.why == "not explained by the recording"
    assert window.length_s == 3.0


def test_a_car_that_drives_away_or_falls_silent_blinds_nobody() -> None:
    def gone(trip: Trip) -> None:
        heard(trip, 10)
        heard(trip, 11.5, rssi_dbm=-90)
        heard(trip, 20)

    def silent(trip: Trip) -> None:
        heard(trip, 10)
        trip.note("jack", "beacon_silent", 11 * NS, reason="inviting")
        trip.note("jack", "beacon_rotated", 14 * NS, handle="3f2a")
        heard(trip, 15)

    assert blind_windows(laid_out(gone)) == []
    assert blind_windows(laid_out(silent)) == []


def test_the_lanes_own_threshold_counts() -> None:
    def play(trip: Trip) -> None:
        trip.note("terminal", "lane_rules", 5 * NS, min_rssi_dbm=-50.0)
        heard(trip, 10)
        heard(trip, 15)

    assert blind_windows(laid_out(play)) == []


def test_incidents_are_told_in_words() -> None:
    def play(trip: Trip) -> None:
        trip.note("jack", "radio_lost", 10 * NS, reason="adapter gone")
        trip.note("jack", "radio_recovered", 14 * NS, rung="power_cycle", blind_ms=4000)
        trip.note("terminal", "radio_lost", 15 * NS, reason="bluetoothd gone")
        trip.note("phone", "jack_lost", 16 * NS, jack="J")
        trip.note("phone", "jack_found", 19 * NS, jack="J")
        trip.note("phone", "power", 20 * NS, under_voltage=True)
        trip.note("phone", "temperature", 21 * NS, celsius=82.5, throttled=True)
        trip.note("phone", "server_lost", 22 * NS, wall_ahead_ms=7_200_000)
        trip.note("terminal", "trial_marked", 30 * NS, trial="t", text="rain begins", truth=None)
        trip.note("server", "agent_stopped", 39 * NS)
        trip.note("server", "agent_started", 40 * NS)
        trip.note("terminal", "agent_started", 45 * NS)
        trip.machines["jack"] = Machine("desk", boot="boot-2")
        trip.note("jack", "agent_started", 50 * NS)

    told = {(found.kind, found.agent): found.text for found in incidents(laid_out(play))}
    assert told == {
        (Kind.RADIO, "jack-1"): "radio lost (adapter gone); recovered by power cycle after 4.0 s",
        (Kind.RADIO, "terminal-1"): "radio lost (bluetoothd gone); not recovered",
        (Kind.WIFI, "phone-1"): "the jack did not answer over Wi-Fi; found again after 3.0 s",
        (Kind.POWER, "phone-1"): "under-voltage",
        (Kind.HEAT, "phone-1"): "82.5 °C, throttled",
        (Kind.CLOCK, "phone-1"): "wall clock set forward by 2.0 h",
        (Kind.MARK, "terminal-1"): "rain begins",
        (
            Kind.RESTART,
            "server-1",
        ): "agent was stopped and started again; 1.0 s since its last word",
        (Kind.RESTART, "terminal-1"): "agent ended in no order and started again; "
        "15.0 s since its last word",
        (Kind.RESTART, "jack-1"): "machine lost its power or was reset, with no orderly end; "
        "36.0 s since its last word",
    }


@pytest.mark.parametrize(
    ("meanwhile", "then", "text"),
    [
        ("called", "jack_found", ", though it was up; found again after 4.0 s"),
        ("agent_started", "jack_found", ", and was stopped or started meanwhile; found again"),
        ("agent_started", "agent_stopped", ", and was stopped or started meanwhile; not found"),
    ],
)
def test_a_jack_that_does_not_answer_is_told_with_what_it_did_itself(
    meanwhile: str, then: str, text: str
) -> None:
    def play(trip: Trip) -> None:
        pay(trip, at_ns=10 * NS)
        trip.note("phone", "jack_lost", 16 * NS, jack="J")
        trip.note("phone", "jack_found", 17 * NS, jack="another")
        trip.note("jack", meanwhile, 18 * NS)
        trip.note("phone", then, 20 * NS, jack="J")

    (told,) = (found.text for found in incidents(laid_out(play)) if found.kind is Kind.WIFI)
    assert told.startswith(f"the jack did not answer over Wi-Fi{text}")


@pytest.mark.parametrize(
    ("ahead_ms", "text"),
    [
        (190_000, "wall clock 3.2 min ahead of the server's"),
        (-1_795_651_000_000, "wall clock 56.9 years behind the server's"),
        (1_500, None),
    ],
)
def test_a_wall_clock_that_was_wrong_from_the_beginning_is_told(
    ahead_ms: int, text: str | None
) -> None:
    def play(trip: Trip) -> None:
        trip.machines["jack"] = Machine("car", offset_ns=77 * NS)
        trip.note("jack", "clock_restored", 5 * NS, wall_ahead_ms=ahead_ms)
        trip.note("jack", "called", 9 * NS, wall_ahead_ms=ahead_ms)
        pay(trip, at_ns=10 * NS)

    made = [i for i in incidents(laid_out(play)) if i.kind is Kind.CLOCK and "set" not in i.text]
    assert [(i.agent, i.text) for i in made] == ([("car/jack-1", text)] if text else [])
    # It was put right before the payment, and until then it was wrong.
    assert all(i.until_ns is not None and 9 * NS < i.until_ns < 11 * NS for i in made)


def truth(trip: Trip, at_s: int, jack: str | None, *, present: bool) -> None:
    fact = {"kind": "at_lane", "lane": "terminal-1", "jack": jack, "present": present}
    trip.note("terminal", "trial_marked", at_s * NS, trial="t", text="", truth=fact)


def test_decisions_meet_what_was_marked() -> None:
    def play(trip: Trip) -> None:
        pay(trip, payment=payment(6), at_ns=50 * NS)  # before anything was marked
        truth(trip, 90, "jack-1", present=True)
        truth(trip, 95, "jack-9", present=False)  # of another lane, by mistake
        pay(trip, payment=payment(1), at_ns=100 * NS)
        truth(trip, 150, None, present=False)
        pay(trip, payment=payment(2), at_ns=200 * NS)
        truth(trip, 250, "jack-7", present=True)
        pay(trip, payment=payment(3), at_ns=300 * NS)
        for number, reason in ((4, "equally_near"), (5, "too_weak")):
            at_ns = number * 100 * NS
            pay(trip, payment=payment(number), at_ns=at_ns, until="terminal charge_asked")
            trip.note("terminal", "jack_not_chosen", at_ns + NS, payment(number), reason=reason)

    timeline = laid_out(play)
    assert figures("trial", timeline).matrix == {
        (AtLane.JACK, Decided.RIGHT): 1,
        (AtLane.NOBODY, Decided.OTHER): 1,
        (AtLane.JACK, Decided.OTHER): 1,
        (AtLane.JACK, Decided.AMBIGUOUS): 1,
        (AtLane.JACK, Decided.NONE): 1,
    }
    spans = [(one.jack, one.from_ns // NS, one.to_ns) for one in presences(timeline)]
    assert spans == [("jack-1", 90, 150 * NS), ("", 150, 250 * NS), ("jack-7", 250, None)]


def test_the_next_car_takes_the_place_of_the_one_before() -> None:
    def play(trip: Trip) -> None:
        truth(trip, 90, "jack-1", present=True)
        truth(trip, 150, "jack-2", present=True)
        truth(trip, 160, "jack-2", present=False)

    spans = [(one.jack, one.to_ns) for one in presences(laid_out(play))]
    assert spans == [("jack-1", 150 * NS), ("jack-2", 160 * NS), ("", None)]


def test_without_marks_there_is_no_matrix() -> None:
    assert figures("trial", laid_out(pay)).matrix == {}


def test_documents_are_whole() -> None:
    found = figures("trial", laid_out(three))
    told = json.loads(json.dumps(document(found), allow_nan=False))
    assert told["success"]["count"] == 1
    assert [one["cause"] for one in told["payments"]] == [None, "owner_declined", "no_jack"]
    assert told["payments"][2]["evidence"][0]["fields"] == {"reason": "too_weak"}
    lines = {name: as_read(rows) for name, rows in tables(found).items()}
    assert all(len({len(line) for line in of_file}) == 1 for of_file in lines.values())
    assert [line[11] for line in lines["payments.csv"]] == [
        "cause",
        "",
        "owner_declined",
        "no_jack",
    ]


def as_read(rows: Iterable[Sequence[object]]) -> list[list[str]]:
    """What a spreadsheet makes of them."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return list(csv.reader(io.StringIO(text.getvalue())))


def test_nothing_recorded_comes_to_nothing() -> None:
    found = figures("empty", laid_out(lambda _trip: None))
    assert found.success.interval == (0.0, 1.0)
    assert document(found)["payments"] == []

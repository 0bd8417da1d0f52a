from __future__ import annotations

from typing import Any

from fieldkit.legs import NAMES, measure
from fieldkit.trace import TraceEvent

PAYMENT = "01890a5d-ac96-774b-bcce-b302099a8057"
COMPLETE = (
    ("terminal", "charge_asked", 1000),
    ("terminal", "jack_chosen", 1002),
    ("terminal", "lane_broadcast", 1004),
    ("server", "request_received", 1010),
    ("server", "challenge_issued", 1013),
    ("phone", "challenge_received", 1015),
    ("jack", "challenge_received", 1020),
    ("phone", "auth_code_received", 1040),
    ("server", "confirmation_received", 1050),
    ("server", "payment_confirmed", 1055),
    ("phone", "payment_known", 1060),
    ("terminal", "payment_settled", 1080),
)


def event(party: str, name: str, at_ms: float, payment: str | None = PAYMENT) -> TraceEvent:
    return TraceEvent(party, party, name, payment, int(at_ms * 1e6), 0, "boot", "system")


def status(at_ms: float, value: str) -> TraceEvent:
    fields: dict[str, Any] = {"status": value}
    return TraceEvent(
        "server", "server", "payment_status", PAYMENT, int(at_ms * 1e6), 0, "boot", "system", fields
    )


def test_each_leg_runs_from_the_end_of_the_one_before() -> None:
    legs = measure([event(*line) for line in COMPLETE], PAYMENT)
    assert legs.legs_ms == {
        "heard": 2.0,
        "requested": 8.0,
        "challenged": 5.0,
        "auth_code": 25.0,
        "confirmed": 15.0,
        "settled": 25.0,
        "total": 80.0,
    }
    assert legs.total_ms == sum(value or 0 for leg, value in legs.legs_ms.items() if leg != "total")


def test_the_order_of_the_traces_does_not_matter() -> None:
    events = [event(*line) for line in COMPLETE]
    assert measure(reversed(events), PAYMENT) == measure(events, PAYMENT)


def test_other_payments_and_later_repetitions_do_not_count() -> None:
    events = [event(*line) for line in COMPLETE]
    foreign = [event("server", "request_received", 1003, "another"), event("jack", "x", 1, None)]
    again = [event("phone", "auth_code_received", 1045)]
    assert measure([*foreign, *events, *again], PAYMENT) == measure(events, PAYMENT)


def test_a_declined_payment_ends_its_leg_with_the_decision() -> None:
    events = [event(*line) for line in COMPLETE if line[1] != "payment_confirmed"]
    legs = measure([*events, status(1013, "pending"), status(1057, "declined")], PAYMENT)
    assert legs.legs_ms["confirmed"] == 17.0
    assert legs.legs_ms["settled"] == 23.0


def test_legs_that_never_ended_are_unknown_and_so_is_the_total() -> None:
    events = [event(*line) for line in COMPLETE[:5]]
    legs = measure(events, PAYMENT)
    assert legs.legs_ms == {
        "heard": 2.0,
        "requested": 8.0,
        "challenged": None,
        "auth_code": None,
        "confirmed": None,
        "settled": None,
        "total": None,
    }


def test_a_leg_without_trace_is_passed_over() -> None:
    events = [event(*line) for line in COMPLETE if line[1] != "jack_chosen"]
    legs = measure(events, PAYMENT)
    assert (legs.legs_ms["heard"], legs.legs_ms["requested"]) == (None, 10.0)
    assert legs.total_ms == 80.0


def test_a_payment_without_traces_has_every_leg_unknown() -> None:
    assert measure([], PAYMENT).legs_ms == dict.fromkeys(NAMES)

"""What charges and traces come to: arithmetic on traces made by hand."""

from __future__ import annotations

import pytest

from fieldkit.bench.latency import Charged, LatencyFloors, figures
from fieldkit.bench.quantiles import Summary, summary
from fieldkit.trace import TraceEvent

_NOTHING = summary([])
_FLOORS = LatencyFloors(0.95, 1.3, 25.0, 27.6, 0.376, 58.0, 0.4, _NOTHING, _NOTHING)
#: One payment: who saw what, at which millisecond after the charge.
_COURSE: tuple[tuple[str, str, int, dict[str, object]], ...] = (
    ("terminal", "charge_asked", 0, {}),
    ("terminal", "jack_chosen", 1, {}),
    ("terminal", "lane_broadcast", 4, {}),
    ("server", "request_received", 6, {}),
    ("phone", "challenge_received", 12, {}),
    ("phone", "auth_code_received", 20, {"presence": True}),
    ("server", "payment_confirmed", 30, {}),
    ("terminal", "payment_settled", 40, {"status": "captured"}),
)


def event(
    party: str, name: str, at_ms: float, payment: str | None, fields: dict[str, object]
) -> TraceEvent:
    at_ns = round(at_ms * 1_000_000)
    return TraceEvent(party, party, name, payment, at_ns, 0, "boot", "system", fields)


def course(payment: str, starts_ms: int) -> list[TraceEvent]:
    events = [
        event(party, name, starts_ms + at_ms, payment, fields)
        for party, name, at_ms, fields in _COURSE
    ]
    return [*events, event("jack", "lane_heard", starts_ms + 5, None, {})]


def test_legs_add_up_to_the_agents_time() -> None:
    made = figures([Charged(100, "one", "captured")], course("one", 1000), _FLOORS)
    assert {leg: found.median for leg, found in made.legs_ms.items()} == {
        "heard": 1,
        "requested": 5,
        "challenged": 6,
        "auth_code": 8,
        "confirmed": 10,
        "settled": 10,
    }
    assert made.agents_ms.median == 40
    assert made.around_ms.median == 60
    assert made.leg_shares["auth_code"] == 0.2
    assert sum(made.leg_shares.values()) == pytest.approx(1)


def test_the_lane_frame_is_timed_from_the_charge_and_from_the_air() -> None:
    events = course("two", 2000) + course("one", 1000)
    made = figures([Charged(9, "one", "captured"), Charged(9, "two", "captured")], events, _FLOORS)
    assert made.lane_on_air_ms == Summary(2, 4, 4, 4, 4, 4)
    assert made.lane_heard_ms == Summary(2, 1, 1, 1, 1, 1)


def test_a_frame_heard_outside_the_payment_does_not_count() -> None:
    events = [e for e in course("one", 1000) if e.event != "lane_heard"]
    events += [event("jack", "lane_heard", at_ms, None, {}) for at_ms in (900, 1100)]
    made = figures([Charged(9, "one", "captured")], events, _FLOORS)
    assert made.lane_heard_ms.count == 0
    assert made.lane_on_air_ms.count == 1


def test_only_captured_payments_are_timed_and_all_are_counted() -> None:
    charged = [Charged(100, "one", "captured"), Charged(900, "two", "declined")]
    made = figures([*charged, Charged(5, "", "failed")], course("one", 0), _FLOORS)
    assert made.outcomes == {"captured": 1, "declined": 1, "failed": 1}
    assert made.payments == 3
    assert made.command_ms.most == 100


def test_presence_is_what_the_phone_says_of_each_payment() -> None:
    absent = [
        event(e.party, e.event, 1, e.payment, {"presence": False})
        if e.event == "auth_code_received"
        else e
        for e in course("two", 0)
    ]
    charged = [Charged(9, "one", "captured"), Charged(9, "two", "captured")]
    assert figures(charged, course("one", 0) + absent, _FLOORS).with_presence == 1


def test_without_a_single_capture_there_are_no_figures_but_no_failure() -> None:
    made = figures([Charged(5, "", "failed")], [], _FLOORS)
    assert made.command_ms.median is None
    assert set(made.leg_shares.values()) == {0.0}

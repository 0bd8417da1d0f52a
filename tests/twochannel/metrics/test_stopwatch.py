"""Legs of payments, from lines of a trace with times by hand."""

from __future__ import annotations

from twochannel.metrics.catalogue import Leg
from twochannel.metrics.stopwatch import Stopwatch

HEARD = Leg("heard", "charge_asked", "jack_chosen")
TOTAL = Leg("total", "charge_asked", "payment_settled")


def timed(*events: tuple[str, str | None, float]) -> list[tuple[str, float]]:
    watch = Stopwatch((HEARD, TOTAL))
    return [
        found
        for event, payment, at_s in events
        for found in watch.take({"event": event, "payment": payment, "mono_ns": int(at_s * 1e9)})
    ]


def test_a_leg_lasts_from_its_first_event_to_its_last() -> None:
    assert timed(
        ("charge_asked", "p1", 1.0), ("jack_chosen", "p1", 1.5), ("payment_settled", "p1", 3.0)
    ) == [("heard", 0.5), ("total", 2.0)]


def test_payments_are_kept_apart() -> None:
    assert timed(
        ("charge_asked", "p1", 1.0), ("charge_asked", "p2", 2.0), ("jack_chosen", "p1", 4.0)
    ) == [("heard", 3.0)]


def test_an_end_without_a_beginning_or_a_second_one_is_nothing() -> None:
    assert timed(("jack_chosen", "p1", 1.0), ("charge_asked", None, 1.0)) == []
    asked = (("charge_asked", "p1", 1.0), ("jack_chosen", "p1", 2.0), ("jack_chosen", "p1", 3.0))
    assert timed(*asked) == [("heard", 1.0)]


def test_what_begins_again_counts_from_then() -> None:
    again = (("charge_asked", "p1", 1.0), ("charge_asked", "p1", 4.0), ("jack_chosen", "p1", 5.0))
    assert timed(*again) == [("heard", 1.0)]


def test_what_never_ends_is_forgotten_for_what_is_newer() -> None:
    begun = [("charge_asked", f"p{number}", float(number)) for number in range(3000)]
    assert timed(*begun, ("jack_chosen", "p0", 3000.0)) == []
    assert timed(*begun, ("jack_chosen", "p2999", 3000.0)) == [("heard", 1.0)]

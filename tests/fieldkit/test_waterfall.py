"""The waterfall of a payment whose request over Wi-Fi got lost."""

from __future__ import annotations

from typing import Any

from fieldkit.trace import TraceEvent
from fieldkit.waterfall import draw

PAYMENT = "p"


def seen(party: str, event: str, at_ms: int, **fields: Any) -> TraceEvent:
    return TraceEvent(
        agent=party,
        party=party,
        event=event,
        payment=PAYMENT,
        mono_ns=at_ms * 1_000_000,
        wall_ms=0,
        boot="boot",
        clock="system",
        fields=fields,
    )


def test_what_arrives_by_gatt_is_drawn_as_that_and_not_as_sent_over_wifi() -> None:
    drawing = draw(
        [
            seen("phone", "auth_code_asked", 0),
            seen("phone", "gatt_tried", 1500),
            seen("jack", "challenge_received", 1900),
            seen("jack", "auth_code_signed", 1910),
            seen("phone", "auth_code_received", 1950, path="gatt"),
        ]
    )
    assert drawing is not None
    assert [(m.sender, m.receiver, m.by_radio) for m in drawing.messages] == [
        ("phone", "jack", True),
        ("jack", "phone", True),
    ]
    bars = [(bar.party, bar.from_ms, bar.to_ms, bar.row) for bar in drawing.bars]
    assert bars == [
        ("phone", 0.0, 1950.0, 0),
        ("phone", 1500.0, 1950.0, 1),
        ("jack", 1900.0, 1910.0, 0),
    ]
    assert drawing.points == []


def test_over_wifi_nothing_of_it_is_by_radio() -> None:
    drawing = draw(
        [
            seen("phone", "auth_code_asked", 0),
            seen("jack", "challenge_received", 5),
            seen("jack", "auth_code_signed", 9),
            seen("phone", "auth_code_received", 12, path="wifi"),
        ]
    )
    assert drawing is not None
    assert [message.by_radio for message in drawing.messages] == [False, False]

"""``Prefer: wait=N``."""

from __future__ import annotations

import pytest

from server.preference import applied, wait_preference_s
from twochannel.protocol.limits import MAX_WAIT_S


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("", None),
        ("wait=5", 5),
        ("wait=0", 0),
        ('Wait = "7"', 7),
        ("respond-async, wait=5", 5),
        ("wait=5; foo=bar", 5),
        ("wait=5, wait=9", 5),
        ("wait=999999", MAX_WAIT_S),
        ("wait=9999999", None),
        ("wait=-1", None),
        ("wait=1.5", None),
        ("wait=\u0665", None),
        ("wait", None),
        ("waiter=5", None),
    ],
)
def test_reading(header: str, wait_s: int | None) -> None:
    assert wait_preference_s(header) == wait_s


def test_what_was_honoured_is_told() -> None:
    assert applied(5) == {"Preference-Applied": "wait=5"}
    assert applied(None) == {}

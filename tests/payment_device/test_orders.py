"""What a till may ask for.

Invariant of the fuzzing: any JSON object is an order, or a CodedError.
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_device.orders import Charge, read_cancel, read_capture, report_sighting
from tests.payment_device.lane import CODE, euros, order
from twochannel.protocol.errors import CodedError


def test_the_order_is_read_from_json_strictly() -> None:
    assert order(amount={"amount": "4.50", "currency": "EUR"}).order.amount == euros(450)
    wrong: dict[str, Any]
    for wrong in (
        {"amount": {"amount": "4.505", "currency": "EUR"}},
        {"amount": {"value": 450, "currency": "XXX"}},
        {"amount": {"value": True, "currency": "EUR"}},
        {"amount": {}},
        {"capture": "sometimes"},
        {"jack": "0123", "code": CODE.hex()},
        {"jack": "abcde"},
        {"wait_s": 56},
        {"reference": ""},
        {"description": "a\u202eb"},
        {"tip": 1},
    ):
        with pytest.raises(CodedError, match=r"claim_invalid|currency_unknown"):
            order(**wrong)


scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=2) | st.dictionaries(st.text(max_size=9), v, max_size=3)
)
amounts = st.fixed_dictionaries({}, optional=dict.fromkeys(("value", "amount", "currency"), values))
names = ("capture", "reference", "description", "jack", "code", "wait_s", "wait_for", "reason")
bodies = st.fixed_dictionaries(
    {}, optional={"amount": amounts | values} | dict.fromkeys(names, values)
)


@given(bodies)
def test_any_json_is_an_order_or_a_coded_error(body: dict[str, object]) -> None:
    for read in (Charge.read, read_capture, read_cancel):
        with contextlib.suppress(CodedError):
            read(body)


@given(st.integers(-128, 20), st.floats(-1e6, 1e9), st.integers(0, 10**6))
def test_any_sighting_can_be_reported(rssi_dbm: int, heard_s_ago: float, others: int) -> None:
    report = report_sighting(rssi_dbm, heard_s_ago, others)
    assert report.rssi_dbm == max(-127, rssi_dbm)
    assert (report.heard_ms_ago == 0) == (heard_s_ago * 1000 <= 0.5)
    assert report.other_jacks == min(others, 10_000)

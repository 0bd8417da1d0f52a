"""Receipts for people: every amount, in both languages, within the columns of the roll."""

from __future__ import annotations

import pytest

from payment_device.paper import WIDTH, receipt_text
from tests.payment_device.lane import Bench
from tests.payment_device.scripted_server import ScriptedServer
from twochannel.pages.words import words
from twochannel.protocol.money import Amount
from twochannel.protocol.payment import Status

MERCHANT = "Blue Bottle"


def columns(line: str) -> int:
    return sum(2 if "\uac00" <= letter <= "\ud7a3" else 1 for letter in line)


async def test_a_hold_that_was_taken_in_part_and_given_back(
    lane: Bench, server: ScriptedServer
) -> None:
    server.outcome = Status.AUTHORIZED
    asked = {"value": 80_000, "currency": "KRW"}
    held = await lane.charge("order-1", amount=asked, capture="manual", description="Fuel")
    await lane.terminal.capture(held["id"], Amount(value=42_170, currency="KRW"), 20)
    told = await lane.terminal.payment(held["id"])
    text = receipt_text(told, MERCHANT, words("en"))
    lines = text.splitlines()
    assert lines[0].strip() == MERCHANT
    assert lines[3] == "Paid" + "₩42,170".rjust(WIDTH - 4)
    for part in ("₩80,000", "₩37,830", "Fuel", "order-1", "42", held["id"]):
        assert part in text
    korean = receipt_text(told, MERCHANT, words("ko"))
    assert "결제 완료" in korean
    assert "₩37,830" in korean
    for line in (*lines, *korean.splitlines()):
        assert columns(line) <= WIDTH


@pytest.mark.parametrize("status", [Status.DECLINED, Status.EXPIRED, Status.REFUSED])
async def test_what_was_not_paid_does_not_say_so(
    lane: Bench, server: ScriptedServer, status: Status
) -> None:
    server.outcome = status
    told = await lane.charge("order-2")
    text = receipt_text(told, MERCHANT, words("en"))
    assert "Paid" not in text


async def test_what_is_too_long_for_a_line_has_one_of_its_own(lane: Bench) -> None:
    told = await lane.charge("o" * 64)
    lines = receipt_text(told, MERCHANT, words("en"), width=24).splitlines()
    assert "o" * 64 in lines
    assert told["id"] in lines

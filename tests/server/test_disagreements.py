"""What Stripe takes back after it was recorded: looked up once more, and left to a person."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.disagreements import Found, done_jobs, note_found
from server.processors.port import Refused
from server.reviews import list_reviews
from tests.server.bench import Bench, check_problem
from tests.server.desk import Desk, open_desk
from tests.server.process import DEADLINE_S, command
from tests.server.stripe_hooks import event, told
from tests.server.stripe_peer import KEY, Wire, altered, charged_at_stripe, instead, lost
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.payment import CaptureMode
from twochannel.trace import wall_ms

NOTHING = instead(b'{"object":"list","data":[],"has_more":false,"url":"/v1/payment_intents"}')


@pytest.fixture
async def desk(tmp_path: Path, database: str) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path, database) as desk:
        yield desk


async def paid(bench: Bench) -> str:
    payment, _, challenge = await bench.pending()
    await bench.confirm(payment, bench.devices.confirmation(payment, challenge))
    return payment


async def given_back(bench: Bench, payment: str) -> str:
    """The address of a refund that has succeeded."""
    refund = bench.devices.refund(bench.statement(payment, "payment-request+jwt"), 100)
    path = f"/v1/payments/{payment}/refunds"
    answer = await bench.post(path, refund, prefer="wait=20")
    assert answer.json()["status"] == "succeeded", answer.text
    return f"{path}/{answer.json()['id']}"


def waiting(bench: Bench) -> list[dict[str, Any]]:
    return bench.store.read_now(list_reviews)


async def heard(bench: Bench, payment: str, kind: str) -> None:
    assert (await told(bench, event(payment, type=kind))).status_code == 200


async def test_a_refund_that_fails_after_it_had_succeeded_is_for_a_person(
    hearing: Bench, wire: Wire
) -> None:
    payment = await paid(hearing)
    refund = await given_back(hearing, payment)
    failed = altered(status="failed", failure_reason="lost_or_stolen_card")
    for _ in range(2):
        wire.faults += [altered(), failed]
        await heard(hearing, payment, "refund.failed")
    (review,) = waiting(hearing)
    assert (review["operation"], review["undecided"]) == ("refund", False)
    assert "not carried out or released: lost_or_stolen_card" in review["cause"]
    shown = await hearing.get(refund, hearing.devices.terminal)
    assert shown.json()["status"] == "succeeded"
    assert (await hearing.payment(payment))["refunded_minor"] == 100
    by = ("--noted", "--by", "Mina", "--why", "given back in cash")
    done = command(hearing.folder.path, "reviews", "settle", str(review["id"]), *by)
    assert done.returncode == 0, done.stderr
    wire.faults += [altered(), failed]
    await heard(hearing, payment, "charge.refund.updated")
    assert waiting(hearing) == []


@pytest.mark.parametrize(
    "fault",
    [
        altered(status="canceled"),
        altered(status="requires_payment_method"),
        altered(amount=451),
        NOTHING,
    ],
    ids=["canceled", "refused", "amount", "gone"],
)
async def test_a_charge_that_stripe_takes_back_is_for_a_person(
    hearing: Bench, wire: Wire, fault: Any
) -> None:
    payment = await paid(hearing)
    before = await hearing.payment(payment)
    wire.faults.append(fault)
    await heard(hearing, payment, "payment_intent.canceled")
    (review,) = waiting(hearing)
    assert (review["payment"], review["operation"]) == (payment, "charge")
    assert await hearing.payment(payment) == before
    assert before["status"] == "captured"


async def test_a_hold_that_was_released_at_stripe_is_for_a_person(
    hearing: Bench, stripe: str
) -> None:
    payment, _ = await hearing.held()
    (intent,) = await charged_at_stripe(stripe, payment)
    async with httpx.AsyncClient(base_url=stripe, auth=(KEY, ""), trust_env=False) as http:
        canceled = await http.post(f"/v1/payment_intents/{intent['id']}/cancel")
        assert canceled.json()["status"] == "canceled"
    await heard(hearing, payment, "payment_intent.canceled")
    (review,) = waiting(hearing)
    assert (review["payment"], review["operation"]) == (payment, "charge")
    assert "not carried out or released" in review["cause"]


async def test_a_charge_that_succeeds_after_it_was_declined_is_for_a_person(
    hearing: Bench, wire: Wire
) -> None:
    hearing.devices.method_id = await hearing.add_method("pm_card_chargeCustomerFail")
    payment = await paid(hearing)
    await heard(hearing, payment, "payment_intent.payment_failed")
    assert waiting(hearing) == []
    wire.faults.append(altered(status="succeeded", amount_received=450))
    await heard(hearing, payment, "payment_intent.succeeded")
    (review,) = waiting(hearing)
    assert "was carried out as pi_" in review["cause"]
    assert (await hearing.payment(payment))["status"] == "refused"


async def test_a_payment_that_was_captured_or_given_up_agrees_with_stripe(
    hearing: Bench, wire: Wire
) -> None:
    captured, request = await hearing.held()
    capture = hearing.devices.capture(request, 4217)
    await hearing.post(f"/v1/payments/{captured}/captures", capture, prefer="wait=20")
    await given_back(hearing, captured)
    voided, request = await hearing.held()
    cancel = hearing.devices.cancel(request)
    await hearing.post(f"/v1/payments/{voided}/cancellation", cancel, prefer="wait=20")
    for payment, status in ((captured, "captured"), (voided, "voided")):
        assert (await hearing.payment(payment))["status"] == status
        wire.requests.clear()
        await heard(hearing, payment, "payment_intent.succeeded")
        assert len(wire.requests) == (2 if status == "captured" else 1)
    assert waiting(hearing) == []


@pytest.mark.parametrize("fault", [lost, instead(b"{}"), altered(status="processing")])
async def test_an_event_that_cannot_be_looked_up_is_told_again(
    hearing: Bench, wire: Wire, fault: Any
) -> None:
    payment = await paid(hearing)
    body = event(payment, type="payment_intent.canceled")
    wire.faults.append(fault)
    check_problem(await told(hearing, body), ErrorCode.PROCESSOR_UNREACHABLE)
    wire.faults.append(altered(status="canceled"))
    assert (await told(hearing, body)).status_code == 200
    assert [review["payment"] for review in waiting(hearing)] == [payment]
    wire.requests.clear()
    assert (await told(hearing, body)).status_code == 200
    assert wire.requests == []


async def test_what_is_unknown_is_asked_for_at_once_though_the_rest_cannot_be_looked_up(
    hearing: Bench, wire: Wire
) -> None:
    """A refund got no answer, nor did who asked for it; now Stripe does not tell of the charge."""
    payment = await paid(hearing)
    refund = hearing.devices.refund(hearing.statement(payment, "payment-request+jwt"), 100)
    wire.faults += [lost, lost]
    await hearing.post(f"/v1/payments/{payment}/refunds", refund)
    await refund_is(hearing, payment, "unknown")
    later = f"UPDATE outbox SET next_at_ms = {wall_ms() + 3_600_000} WHERE state = 'unknown'"
    hearing.store.write_now(lambda c: c.exec_driver_sql(later))
    wire.faults.append(lost)
    body = event(payment, type="charge.refunded")
    check_problem(await told(hearing, body), ErrorCode.PROCESSOR_UNREACHABLE)
    await refund_is(hearing, payment, "done")


async def refund_is(bench: Bench, payment: str, state: str) -> None:
    sql = "SELECT state FROM outbox WHERE payment_id = ? AND refund_id IS NOT NULL"
    async with asyncio.timeout(DEADLINE_S):
        while [row.state for row in bench.rows(sql, payment)] != [state]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_what_is_under_way_or_was_gone_on_with_is_not_compared(desk: Desk) -> None:
    store, payment = desk.world.store, desk.confirmed(mode=CaptureMode.MANUAL, value=8000)
    assert store.read_now(lambda c: done_jobs(c, payment)) == []
    async with desk.running():
        await desk.until(payment, status="authorized")
    (charge,) = store.read_now(lambda c: done_jobs(c, payment))
    desk.world.capture(payment, 4217)
    assert store.read_now(lambda c: done_jobs(c, payment)) == []
    found = [Found(charge, Refused("charge_voided"))]
    assert store.write_now(lambda c: note_found(c, found, wall_ms())) == []
    async with desk.running():
        await desk.until(payment, status="captured")
    (capture,) = store.read_now(lambda c: done_jobs(c, payment))
    assert capture.operation == "capture"
    assert store.write_now(lambda c: note_found(c, found, wall_ms())) == []
    found = [Found(capture, Refused("charge_voided"))]
    assert len(store.write_now(lambda c: note_found(c, found, wall_ms()))) == 1

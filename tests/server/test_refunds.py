"""Refunds: several for one payment, never above what was captured, each given back once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server.evidence import gather
from server.evidence_chain import verify_document
from server.evidence_file import write
from server.notifications import OUTBOX
from server.processors.port import (
    Approved,
    KeyConflictError,
    OutcomeUnknownError,
    ProcessorBusyError,
    Refused,
)
from tests.server.desk import Desk, answers, open_desk, raises
from tests.server.sql import execute
from twochannel.protocol.errors import CodedError, ErrorCode, PaymentError, StatementError
from twochannel.protocol.limits import MAX_PAYMENT_STATEMENTS
from twochannel.protocol.payment import CaptureMode
from twochannel.protocol.statements import Role


@pytest.fixture
async def desk(tmp_path: Path, database: str) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path, database) as desk:
        yield desk


async def captured(desk: Desk, token: str = "tok_success", value: int = 450) -> str:
    payment = desk.confirmed(token, value=value)
    await desk.until(payment, status="captured")
    return payment


def booked(desk: Desk) -> list[tuple[str, int]]:
    """What the processor's own books say was given back."""
    books: Any = desk.processor.inner
    return list(books._books._db.execute("SELECT payment, amount_minor FROM refunds"))


# --- through the outbox


async def test_several_refunds_each_with_a_receipt_never_above_what_was_captured(
    desk: Desk,
) -> None:
    world = desk.world
    async with desk.running():
        payment = await captured(desk)
        for value, sum_minor in ((100, 100), (300, 400), (50, 450)):
            refund = world.refund(payment, value)
            desk.notifications.wake(OUTBOX)
            await desk.until_refund(payment, refund, status="succeeded")
            assert world.payment(payment)["refunded_minor"] == sum_minor
        with pytest.raises(PaymentError) as refused:
            world.refund(payment, 1)
    assert refused.value.code is ErrorCode.AMOUNT_EXCEEDED
    assert booked(desk) == [(payment, 100), (payment, 300), (payment, 50)]
    assert world.payment(payment)["status"] == "captured"
    verdict = verify_document(
        write(world.store.read_now(lambda c: gather(c, payment, world.identity)))
    )
    assert (verdict.captured_minor, verdict.refunded_minor) == (450, 450)
    assert "4.50 EUR captured of 4.50 authorised, 4.50 given back" in verdict.steps[-1].text


async def test_refunds_that_are_not_carried_out_yet_count_already(desk: Desk) -> None:
    async with desk.running():
        payment = await captured(desk)
    desk.world.refund(payment, 300)
    with pytest.raises(PaymentError) as refused:
        desk.world.refund(payment, 151)
    assert refused.value.code is ErrorCode.AMOUNT_EXCEEDED
    desk.world.refund(payment, 150)
    assert desk.world.payment(payment)["refunded_minor"] == 0


async def test_of_a_partial_capture_no_more_is_given_back_than_was_taken(desk: Desk) -> None:
    payment = desk.confirmed(mode=CaptureMode.MANUAL, value=8000)
    async with desk.running():
        await desk.until(payment, status="authorized")
        with pytest.raises(PaymentError) as refused:
            desk.world.refund(payment, 1)
        assert refused.value.code is ErrorCode.PAYMENT_STATE
        desk.world.capture(payment, 4217)
        desk.notifications.wake(OUTBOX)
        await desk.until(payment, status="captured")
        with pytest.raises(PaymentError) as refused:
            desk.world.refund(payment, 4218)
        assert refused.value.code is ErrorCode.AMOUNT_EXCEEDED
        refund = desk.world.refund(payment, 4217)
        desk.notifications.wake(OUTBOX)
        await desk.until_refund(payment, refund, status="succeeded")


async def test_a_refund_that_is_refused_says_why_and_may_be_asked_for_anew(desk: Desk) -> None:
    desk.processor.instead_of_refund = [answers(Refused("account_closed"))]
    async with desk.running():
        payment = await captured(desk)
        first = desk.world.refund(payment, 450, "milk")
        desk.notifications.wake(OUTBOX)
        await desk.until_refund(payment, first, status="refused", reason="account_closed")
        second = desk.world.refund(payment, 450, "milk")
        desk.notifications.wake(OUTBOX)
        await desk.until_refund(payment, second, status="succeeded")
    assert desk.world.payment(payment)["refunded_minor"] == 450


async def test_a_reference_is_given_back_once(desk: Desk) -> None:
    async with desk.running():
        payment = await captured(desk)
        desk.world.refund(payment, 100, "milk")
        with pytest.raises(PaymentError) as refused:
            desk.world.refund(payment, 100, "milk")
    assert refused.value.code is ErrorCode.PAYMENT_CONFLICT


@pytest.mark.parametrize("lost", ["answer", "order", "process"])
async def test_whatever_is_lost_it_is_given_back_once(desk: Desk, lost: str) -> None:
    """``answer``: booked and not heard of; ``order``: never arrived; ``process``: killed."""
    token = "tok_refund_lost_answer" if lost == "answer" else "tok_success"
    async with desk.running():
        payment = await captured(desk, token)
    if lost == "order":
        desk.processor.instead_of_refund = [raises(OutcomeUnknownError("cut"))]
    if lost == "process":
        desk.processor.instead_of_refund = [desk.processor.hang]
        desk.clearing = replace(desk.clearing, timeout_s=60)
    refund = desk.world.refund(payment, 100)
    async with desk.running(reconciler=False):
        if lost == "process":
            await desk.until_hanging()
        else:
            await desk.until_outbox(payment, "refund", state="unknown")
            await desk.until_refund(payment, refund, status="unknown")
            assert desk.world.payment(payment)["status"] == "captured"
    async with desk.running():
        await desk.until_refund(payment, refund, status="succeeded")
    assert booked(desk) == [(payment, 100)]
    assert desk.world.payment(payment)["refunded_minor"] == 100


async def test_a_busy_processor_is_asked_later_under_the_same_key(desk: Desk) -> None:
    desk.processor.instead_of_refund = [raises(ProcessorBusyError("429"))] * 2
    async with desk.running():
        payment = await captured(desk)
        refund = desk.world.refund(payment, 100)
        desk.notifications.wake(OUTBOX)
        await desk.until_refund(payment, refund, status="succeeded")
    assert desk.processor.calls[1:] == [f"{payment}:refund:1"] * 3


@pytest.mark.parametrize(
    "act", [answers(Approved("simr_1", 101)), raises(KeyConflictError("another order"))]
)
async def test_what_contradicts_the_refund_is_for_a_person(desk: Desk, act: Any) -> None:
    desk.processor.instead_of_refund = [act]
    async with desk.running():
        payment = await captured(desk)
        refund = desk.world.refund(payment, 100)
        desk.notifications.wake(OUTBOX)
        await desk.until_outbox(payment, "refund", reason="needs_review")
        await desk.until_refund(payment, refund, status="unknown")
    assert desk.world.payment(payment)["refunded_minor"] == 0


async def test_the_evidence_of_a_payment_is_never_too_long_to_export(desk: Desk) -> None:
    async with desk.running():
        payment = await captured(desk, value=10_000)
    for _ in range(MAX_PAYMENT_STATEMENTS // 2 - 5):
        desk.world.refund(payment, 1)
    with pytest.raises(PaymentError, match="too many statements"):
        desk.world.refund(payment, 1)
    desk.notifications.wake(OUTBOX)
    last = str(desk.world.rows("SELECT id FROM refunds ORDER BY id DESC")[0]["id"])
    async with desk.running():
        await desk.until_refund(payment, last, status="succeeded")
        waiting = desk.world.rows("SELECT id FROM refunds WHERE status = 'pending'")
        for row in waiting:
            await desk.until_refund(payment, str(row["id"]), status="succeeded")
    evidence = desk.world.store.read_now(lambda c: gather(c, payment, desk.world.identity))
    assert len(evidence.statements) <= MAX_PAYMENT_STATEMENTS
    assert verify_document(write(evidence)).refunded_minor == len(evidence.statements) // 2 - 2


async def test_the_operator_refunds_in_the_place_of_a_terminal(desk: Desk) -> None:
    world = desk.world
    async with desk.running():
        payment = await captured(desk)
        world.store.write_now(
            lambda c: execute(c, "UPDATE terminals SET revoked_ms = ?", world.now_ms)
        )
        with pytest.raises(CodedError) as refused:
            world.refund(payment, 100)
        assert refused.value.code is ErrorCode.DEVICE_REVOKED
        refund = world.operator_refund(payment, 100)
        await desk.until_refund(payment, refund, status="succeeded", requested_by="operator")
    evidence = world.store.read_now(lambda c: gather(c, payment, world.identity))
    steps = verify_document(write(evidence)).steps
    assert steps[-2].signer is Role.SERVER
    assert "The server's operator asked to give 1.00 EUR" in steps[-2].text


async def test_the_currency_is_that_of_the_payment(desk: Desk) -> None:
    async with desk.running():
        payment = await captured(desk)
    with pytest.raises(StatementError) as refused:
        desk.world.refund(payment, 1, currency="USD")
    assert refused.value.code is ErrorCode.CHAIN_BROKEN

"""What becomes of outcomes that are unknown: looked up, ordered again, or left to a person."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server.backoff import LONGEST_DELAY_MS, delay_ms
from server.calls import take
from server.processors.port import (
    RETRY_MARGIN_S,
    Abilities,
    Approved,
    KeyConflictError,
    OutcomeUnknownError,
    may_order_again,
)
from tests.server.desk import HASTY_S, PATIENT_S, Desk, answers, never, open_desk, raises
from tests.server.world import NOW_MS
from twochannel.protocol.payment import CaptureMode
from twochannel.trace import wall_ms


@pytest.fixture
async def desk(tmp_path: Path, database: str) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path, database) as desk:
        yield desk


@pytest.mark.parametrize("token", ["tok_hang", "tok_lost_answer"])
async def test_an_answer_that_is_lost_is_looked_up(desk: Desk, token: str) -> None:
    desk.clearing = replace(desk.clearing, timeout_s=HASTY_S)
    async with desk.running():
        payment = desk.confirmed(token)
        row = await desk.until(payment, status="captured")
    assert row["captured_minor"] == 450
    assert desk.history(payment) == ["confirmed", "unknown", "captured"]
    assert desk.processor.calls == [f"{payment}:charge:1"]
    assert desk.processor.lookups == [f"{payment}:charge:1"]


async def test_without_the_reconciler_a_lost_answer_stays_unknown(desk: Desk) -> None:
    async with desk.running(reconciler=False):
        payment = desk.confirmed("tok_lost_answer")
        await desk.until(payment, status="unknown")
    assert desk.outbox(payment)["state"] == "unknown"


async def test_an_order_that_never_arrived_is_sent_again_under_its_key(desk: Desk) -> None:
    desk.processor.instead_of_charge = [raises(OutcomeUnknownError("cut"))]
    async with desk.running():
        payment = desk.confirmed()
        await desk.until(payment, status="captured")
    assert desk.processor.calls == [f"{payment}:charge:1"] * 2
    assert desk.history(payment) == ["confirmed", "unknown", "captured"]


async def test_an_adapter_that_breaks_leaves_the_outcome_unknown(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.processor.instead_of_charge = [raises(ZeroDivisionError("a bug"))]
    desk.processor.instead_of_lookup = [raises(ZeroDivisionError("a bug")), never]
    desk.clearing = replace(desk.clearing, timeout_s=HASTY_S)
    async with desk.running():
        payment = desk.confirmed()
        await desk.until(payment, status="captured")
    assert desk.history(payment) == ["confirmed", "unknown", "captured"]
    assert [r.message for r in caplog.records].count("processor_adapter_failed") == 2
    assert len(desk.processor.lookups) == 3


@pytest.mark.parametrize(
    "act",
    [
        answers(Approved("sim_1", 451)),
        raises(KeyConflictError("the key stands for another order")),
    ],
)
async def test_what_contradicts_the_order_is_for_a_person(
    desk: Desk, caplog: pytest.LogCaptureFixture, act: Callable[[Any], Awaitable[Any]]
) -> None:
    desk.processor.instead_of_charge = [act]
    async with desk.running():
        payment = desk.confirmed()
        await desk.until(payment, status="unknown")
        other = desk.confirmed()
        await desk.until(other, status="captured")
    assert desk.outbox(payment)["reason"] == "needs_review"
    assert desk.processor.lookups == []
    assert "payment_needs_review" in [record.message for record in caplog.records]


@pytest.mark.parametrize("operation", ["capture", "void"])
async def test_a_hold_stays_held_while_an_operation_is_unknown(desk: Desk, operation: str) -> None:
    desk.processor.instead_of_lookup = [never] * 1000
    desk.processor.instead_of_capture = [raises(OutcomeUnknownError("cut"))]
    payment = desk.confirmed(mode=CaptureMode.MANUAL, value=8000)
    async with desk.running():
        await desk.until(payment, status="authorized")
    if operation == "capture":
        desk.world.capture(payment, 4217)
    else:
        desk.world.cancel(payment)
        desk.clearing = replace(desk.clearing, timeout_s=0.0)
    async with desk.running():
        await desk.until_outbox(payment, operation, state="unknown")
        row = desk.world.payment(payment)
        assert (row["status"], row["operation"]) == ("authorized", operation)
        desk.processor.instead_of_lookup = []
        desk.clearing = replace(desk.clearing, timeout_s=PATIENT_S)
    async with desk.running():
        await desk.until(payment, status={"capture": "captured", "void": "voided"}[operation])


async def test_an_outcome_that_the_payment_cannot_have_is_for_a_person(desk: Desk) -> None:
    payment = desk.confirmed(mode=CaptureMode.MANUAL, value=8000)
    async with desk.running():
        await desk.until(payment, status="authorized")
    desk.world.cancel(payment)
    store, now_ms = desk.world.store, wall_ms()
    (job,) = await store.write(lambda c: take(c, now_ms, now_ms + 60_000, 10))
    store.write_now(
        lambda c: c.exec_driver_sql("UPDATE payments SET status = 'captured', operation = NULL")
    )
    await desk.clearing.finish(job, Approved("sim_00000001", 8000))
    assert desk.outbox(payment, "void")["reason"] == "needs_review"


async def test_a_processor_without_any_promise_leaves_it_to_a_person(desk: Desk) -> None:
    desk.processor.abilities = Abilities(idempotency=False, lookup=False, retention_s=0)
    desk.processor.instead_of_charge = [raises(OutcomeUnknownError("cut"))]
    async with desk.running():
        payment = desk.confirmed()
        await desk.until_outbox(payment, reason="needs_review")
    assert desk.world.payment(payment)["status"] == "unknown"
    assert desk.processor.calls == [f"{payment}:charge:1"]


def test_an_order_is_repeated_only_while_the_processor_remembers_its_key() -> None:
    a_day = Abilities(idempotency=True, lookup=True, retention_s=86_400)
    last_ms = NOW_MS + (86_400 - RETRY_MARGIN_S) * 1000 - 1
    assert may_order_again(a_day, NOW_MS, last_ms)
    assert not may_order_again(a_day, NOW_MS, last_ms + 1)
    assert not may_order_again(replace(a_day, idempotency=False), NOW_MS, NOW_MS)


def test_delays_double_up_to_a_minute_and_jitter_shortens_them() -> None:
    assert [delay_ms(attempts, 0) for attempts in (0, 1, 2, 3)] == [250, 250, 500, 1000]
    assert delay_ms(10_000, 0) == LONGEST_DELAY_MS
    assert delay_ms(1, 0.999) in range(125, 130)
    with pytest.raises(ValueError, match="jitter"):
        delay_ms(1, 1.0)

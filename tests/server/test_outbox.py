"""The worker against the simulated processor and against broken ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection

from server.calls import (
    lose,
    lose_abandoned,
    next_unknown_ms,
    next_work_ms,
    take,
    unknown_jobs,
)
from server.evidence import gather
from server.evidence_chain import verify_evidence
from server.expiry import sweep
from server.issuer import Issuer
from server.kinds import Operation
from server.notifications import OUTBOX
from server.payments import Change, get_payment, queue_operation
from server.processors.port import (
    Approved,
    ChargeOrder,
    Outcome,
    ProcessorBusyError,
    Refused,
    VoidOrder,
)
from tests.server.desk import DEADLINE_S, Desk, answers, open_desk, raises
from tests.server.sql import plan_of
from twochannel.protocol.errors import PaymentError
from twochannel.protocol.payment import CaptureMode
from twochannel.trace import wall_ms


@pytest.fixture
async def desk(tmp_path: Path, database: str) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path, database) as desk:
        yield desk


async def test_a_confirmed_payment_is_charged_at_once(desk: Desk) -> None:
    async with desk.running():
        payment = desk.confirmed()
        row = await desk.until(payment, status="captured")
    assert (row["authorized_minor"], row["captured_minor"]) == (450, 450)
    assert row["processor_reference"] == "sim_00000001"
    assert desk.processor.calls == [f"{payment}:charge:1"]
    booked = desk.outbox(payment)
    assert (booked["state"], booked["outcome"], booked["lease_until_ms"]) == (
        "done",
        "succeeded",
        None,
    )


async def test_a_wake_up_is_not_needed(desk: Desk) -> None:
    payment = desk.confirmed()
    async with desk.running():
        await desk.until(payment, status="captured")


async def test_a_declined_card_refuses_the_payment(desk: Desk) -> None:
    async with desk.running():
        row = await desk.until(desk.confirmed("tok_decline"), status="refused")
    assert (row["reason"], row["captured_minor"]) == ("card_declined", 0)


async def test_a_hold_is_captured_in_part(desk: Desk) -> None:
    async with desk.running():
        payment = desk.confirmed(mode=CaptureMode.MANUAL, value=8000)
        await desk.until(payment, status="authorized")
        desk.world.capture(payment, 4217)
        desk.notifications.wake(OUTBOX)
        row = await desk.until(payment, status="captured")
    assert (row["authorized_minor"], row["captured_minor"]) == (8000, 4217)


async def test_a_hold_is_voided(desk: Desk) -> None:
    async with desk.running():
        payment = desk.confirmed(mode=CaptureMode.MANUAL, value=8000)
        await desk.until(payment, status="authorized")
        desk.world.cancel(payment)
        desk.notifications.wake(OUTBOX)
        await desk.until(payment, status="voided", reason="canceled_by_terminal")


async def test_a_hold_that_nobody_captured_ends_voided_and_says_that_time_did_it(
    desk: Desk,
) -> None:
    world = desk.world
    payment = desk.confirmed(mode=CaptureMode.MANUAL, value=8000)
    async with desk.running():
        await desk.until(payment, status="authorized")
        world.store.write_now(lambda c: sweep(c, wall_ms(), world.issuer))
        assert world.payment(payment)["operation"] is None
        expired_ms = "UPDATE payments SET hold_expires_ms = 1"
        world.store.write_now(lambda c: c.exec_driver_sql(expired_ms))
        world.store.write_now(lambda c: sweep(c, wall_ms(), world.issuer))
        desk.notifications.wake(OUTBOX)
        row = await desk.until(payment, status="voided")
    assert (row["reason"], row["captured_minor"]) == ("hold_expired", 0)
    evidence = world.store.read_now(lambda c: gather(c, payment, world.identity))
    assert verify_evidence(evidence).ended_by is None


async def test_a_hold_that_the_processor_has_released_itself_ends_voided(desk: Desk) -> None:
    payment = desk.confirmed(mode=CaptureMode.MANUAL, value=8000)
    async with desk.running():
        reference = (await desk.until(payment, status="authorized"))["processor_reference"]
        await desk.processor.inner.void(VoidOrder("elsewhere", payment, str(reference)))
        desk.world.cancel(payment)
        desk.notifications.wake(OUTBOX)
        await desk.until(payment, status="voided")


async def test_a_busy_processor_is_asked_later_and_nothing_is_unknown(desk: Desk) -> None:
    desk.processor.instead_of_charge = [raises(ProcessorBusyError("429"))] * 2
    desk.clearing = replace(desk.clearing, timeout_s=DEADLINE_S)
    async with desk.running():
        payment = desk.confirmed()
        await desk.until(payment, status="captured")
    assert desk.history(payment) == ["confirmed", "captured"]
    assert desk.outbox(payment)["attempts"] == 3


async def test_a_refused_capture_leaves_the_hold_and_says_why(desk: Desk) -> None:
    payment = desk.confirmed(mode=CaptureMode.MANUAL, value=8000)
    async with desk.running():
        reference = (await desk.until(payment, status="authorized"))["processor_reference"]
        void = VoidOrder("elsewhere", payment, str(reference))
        await desk.processor.inner.void(void)
        desk.world.capture(payment, 4217)
        desk.notifications.wake(OUTBOX)
        row = await desk.until(payment, reason="charge_voided")
    assert (row["status"], row["operation"], row["captured_minor"]) == ("authorized", None, 0)
    assert desk.outbox(payment, "capture")["outcome"] == "refused"


async def test_a_refused_capture_may_be_asked_for_anew_and_succeeds_once(desk: Desk) -> None:
    desk.processor.instead_of_capture = [answers(Refused("over_limit"))]
    payment = desk.confirmed(mode=CaptureMode.MANUAL, value=8000)
    async with desk.running():
        await desk.until(payment, status="authorized")
        desk.world.capture(payment, 8000)
        desk.notifications.wake(OUTBOX)
        await desk.until(payment, reason="over_limit")
        desk.world.capture(payment, 4217)
        desk.notifications.wake(OUTBOX)
        row = await desk.until(payment, status="captured")
        with pytest.raises(PaymentError, match="holds no amount"):
            desk.world.capture(payment, 1)
    assert (row["authorized_minor"], row["captured_minor"]) == (8000, 4217)
    keys = [f"{payment}:charge:1", f"{payment}:capture:1", f"{payment}:capture:2"]
    assert desk.processor.calls == keys


@pytest.mark.parametrize("operation", [Operation.CHARGE, Operation.CAPTURE])
async def test_an_order_that_is_open_or_succeeded_is_not_queued_twice(
    desk: Desk, operation: Operation
) -> None:
    payment = desk.world.request(8000, CaptureMode.MANUAL)
    desk.world.confirm(payment)

    def queue(connection: Connection) -> None:
        queue_operation(connection, get_payment(connection, payment), operation, 1, 1)

    if operation is Operation.CAPTURE:
        desk.world.store.write_now(queue)
    with pytest.raises(PaymentError, match="asked for before"):
        desk.world.store.write_now(queue)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "look",
    [
        lambda c, _: take(c, 1, 1, 1),
        lambda c, _: unknown_jobs(c, 1, 1),
        lambda c, _: next_work_ms(c),
        lambda c, _: next_unknown_ms(c),
        lambda c, issuer: lose_abandoned(c, issuer, 1, 1),
    ],
)
async def test_open_orders_are_found_without_reading_those_that_are_done(
    desk: Desk, look: Callable[[Connection, Issuer], object]
) -> None:
    def plans(connection: Connection) -> list[str]:
        steps = plan_of(connection, lambda: look(connection, desk.world.issuer))
        return [step for step in steps if "outbox" in step]

    steps = desk.world.store.write_now(plans)
    assert steps
    assert [step for step in steps if "INDEX ix_outbox_open" not in step] == []


async def test_a_call_that_died_with_its_process_is_unknown_after_the_restart(
    desk: Desk,
) -> None:
    desk.processor.instead_of_charge = [desk.processor.hang]
    desk.clearing = replace(desk.clearing, timeout_s=60)
    async with desk.running():
        payment = desk.confirmed()
        await desk.until_hanging()
    assert desk.outbox(payment)["state"] == "calling"
    assert desk.history(payment) == ["confirmed"]
    async with desk.running():
        await desk.until(payment, status="captured")
    assert desk.history(payment) == ["confirmed", "unknown", "captured"]


async def test_a_lease_that_runs_out_while_the_worker_lives_makes_unknown(desk: Desk) -> None:
    async with desk.running(reconciler=False):
        await desk.until(desk.confirmed(), status="captured")
        # Due in an hour, so that the worker leaves it to the caller here, who never comes back.
        now_ms = desk.world.now_ms
        desk.world.now_ms += 3_600_000
        payment = desk.confirmed()
        later_ms = desk.world.now_ms
        (job,) = await desk.world.store.write(lambda c: take(c, later_ms, now_ms, 10))
        assert job.payment_id == payment
        desk.notifications.wake(OUTBOX)
        await desk.until(payment, status="unknown")


async def test_a_capture_whose_caller_has_gone_is_looked_up_at_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its payment stays as it is, and still the reconciler, which looks at nothing by itself here,
    is told."""
    monkeypatch.setattr("server.reconciler.POLL_S", 3600.0)
    async with desk.running():
        payment = desk.confirmed(mode=CaptureMode.MANUAL, value=8000)
        await desk.until(payment, status="authorized")
        now_ms = desk.world.now_ms
        desk.world.now_ms += 3_600_000
        desk.world.capture(payment, 4217)
        later_ms = desk.world.now_ms
        (job,) = await desk.world.store.write(lambda c: take(c, later_ms, now_ms, 10))
        assert job.payment_id == payment
        desk.notifications.wake(OUTBOX)
        await desk.until(payment, status="captured")


async def test_many_payments_are_called_at_the_same_time(desk: Desk) -> None:
    arrived: list[str] = []
    all_there = asyncio.Event()

    async def together(order: ChargeOrder) -> Outcome:
        arrived.append(order.payment)
        if len(arrived) == 10:
            all_there.set()
        await all_there.wait()
        return await desk.processor.inner.charge(order)

    desk.clearing = replace(desk.clearing, timeout_s=DEADLINE_S)
    desk.processor.instead_of_charge = [together] * 10
    payments = [desk.confirmed() for _ in range(10)]
    async with desk.running():
        for payment in payments:
            await desk.until(payment, status="captured")


async def test_an_outcome_is_recorded_once(desk: Desk) -> None:
    payment = desk.confirmed()
    store, now_ms = desk.world.store, wall_ms()
    (job,) = await store.write(lambda c: take(c, now_ms, now_ms + 60_000, 10))
    approved = Approved("sim_1", 450)
    await desk.clearing.finish(job, approved)
    await desk.clearing.finish(job, approved)
    change: Change | None = await store.write(
        lambda c: lose(c, job.row_id, desk.world.issuer, now_ms, next_at_ms=now_ms)
    )
    assert change is None
    assert desk.history(payment) == ["confirmed", "captured"]

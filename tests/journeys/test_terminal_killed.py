"""The terminal dies between sending and answer: it finds its payment again, and charges once."""

from __future__ import annotations

import asyncio
import time

import pytest

from fieldkit import processor_books
from fieldkit.journeys import arrive, heard, owner_asked, resource
from fieldkit.processor_books import Charge
from fieldkit.stage import SERVER, Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAILED = (1,)


async def test_the_intent_is_swept_and_the_payment_is_the_same(stage: Stage) -> None:
    phone, trace = stage.cast.phone.name, stage.traces["wash-1"]
    await arrive(stage, "wash-1")
    async with owner_asked(stage, "wash-1", "8.10", expect=FAILED) as (payment, charging):
        killed_ns = time.monotonic_ns()
        await stage.kill("wash-1")
        await asyncio.gather(charging)
        await stage.restart("wash-1")
        await trace.wait("intent_swept", payment=payment, after_ns=killed_ns)
        await stage.cli(phone, "approve", payment)
        await trace.wait("payment_settled", payment=payment, after_ns=killed_ns)
    shown = await resource(stage, payment)
    assert shown["status"] == "captured"
    _, again = await stage.cli("wash-1", "charge", "8.10", "EUR", "--reference", shown["reference"])
    assert (again["id"], again["status"]) == (payment, "captured")
    booked = processor_books.charges(stage.state(SERVER), payment)
    assert booked == [Charge("captured", "EUR", 810, 810)]


async def test_killed_before_the_request_left_it_charges_at_most_once(stage: Stage) -> None:
    await arrive(stage, "lane-1")
    after_ns = time.monotonic_ns()
    order = f"crash-{after_ns}"
    charging = asyncio.create_task(
        stage.cli("lane-1", "charge", "1.90", "EUR", "--reference", order, expect=(0, 1))
    )
    stored = await stage.traces["lane-1"].wait("intent_stored", after_ns=after_ns)
    await stage.kill("lane-1")
    await charging
    await stage.restart("lane-1")
    await heard(stage, "lane-1")
    _, again = await stage.cli("lane-1", "charge", "1.90", "EUR", "--reference", order)
    assert (again["id"], again["status"]) == (stored.payment, "captured")
    booked = processor_books.charges(stage.state(SERVER), again["id"])
    assert booked == [Charge("captured", "EUR", 190, 190)]

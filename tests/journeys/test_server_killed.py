"""The server dies in the middle of a payment and comes back: the payment ends, once."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from fieldkit import processor_books
from fieldkit.journeys import arrive, charge, owner_asked, resource
from fieldkit.processor_books import Charge
from fieldkit.stage import SERVER, Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: The terminal answers its till with 1 when the server has been silent for too long.
ANY_END = (0, 1, 3)
DEADLINE_S = 40.0


async def outcome(stage: Stage, terminal: str, payment: str) -> dict[str, Any]:
    """The payment once the terminal knows how it ended."""
    await stage.traces[terminal].wait("payment_settled", payment=payment, deadline_s=DEADLINE_S)
    return await resource(stage, payment)


async def test_while_the_owner_is_asked(stage: Stage) -> None:
    phone = stage.cast.phone.name
    await arrive(stage, "wash-1")
    async with owner_asked(stage, "wash-1", "7.30", expect=ANY_END) as (payment, charging):
        killed_ns = time.monotonic_ns()
        await stage.kill(SERVER)
        await stage.restart(SERVER)
        await stage.traces[phone].wait("server_connected", after_ns=killed_ns)
        await stage.cli(phone, "approve", payment)
        shown = await outcome(stage, "wash-1", payment)
        await charging
    assert shown["status"] == "captured"
    booked = processor_books.charges(stage.state(SERVER), payment)
    assert booked == [Charge("captured", "EUR", 730, 730)]


@pytest.mark.parametrize(
    "event",
    [
        "request_received",
        "challenge_issued",
        "confirmation_received",
        "payment_confirmed",
        "processor_called",
        "processor_answered",
    ],
)
async def test_after_a_step_of_an_automatic_payment(stage: Stage, event: str) -> None:
    await arrive(stage, "lane-1")
    after_ns = time.monotonic_ns()
    charging = asyncio.create_task(charge(stage, "lane-1", "2.40", expect=ANY_END))
    seen = await stage.traces[SERVER].wait(event, after_ns=after_ns)
    await stage.kill(SERVER)
    await stage.restart(SERVER)
    payment = str(seen.payment)
    shown = await outcome(stage, "lane-1", payment)
    await charging
    booked = processor_books.charges(stage.state(SERVER), payment)
    paid = [Charge("captured", "EUR", 240, 240)]
    assert (shown["status"], booked) in [("captured", paid), ("expired", []), ("declined", [])]

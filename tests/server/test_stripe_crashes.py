"""The server is killed while Stripe's answer is on its way, and comes back: each order once.

A process as its operator has it, and killed from outside; ``test_stripe_crash_points`` has every
step of an order, where the server kills itself.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.kinds import Operation
from server.state import StateFolder
from tests.server.bench import DEADLINE_S, Bench, Prepared, copied, running
from tests.server.crash_scene import AGREED, ENDS, REFUNDED, TAKEN, check_account, check_audit
from tests.server.devices import Devices
from tests.server.process import Process, started
from tests.server.stripe_peer import (
    KEY,
    Wire,
    asking_its_owner,
    charge_by_stripe,
    charged_at_stripe,
    empty,
    held_up,
)
from twochannel.tls import client_context


@asynccontextmanager
async def apart(folder: StateFolder, devices: Devices) -> AsyncIterator[tuple[Bench, Process]]:
    """The server in a process of its own while the block runs."""
    store = folder.open_store()
    with started(folder.path) as process:
        url = str(process.ready["url"])
        context = client_context(folder.certificate())
        async with httpx.AsyncClient(
            base_url=url, verify=context, timeout=DEADLINE_S, trust_env=False
        ) as http:
            yield Bench(url, folder, http, store, devices, asyncio.Event()), process
    store.close_now()


def kept_back(arrived: asyncio.Event, until: asyncio.Event) -> Callable[..., Any]:
    """Stripe has answered, and its answer gets no further ``until`` nobody waits for it."""

    async def act(writer: asyncio.StreamWriter, data: bytes) -> None:
        arrived.set()
        await held_up(until)(writer, data)

    return act


#: A payment, and the address and statement of what is to be done about it.
Order = tuple[str, str, str]


async def prepare(bench: Bench, operation: Operation) -> Order:
    """An order of ``operation`` that is not sent yet."""
    amount = {"value": AGREED, "currency": "EUR"}
    mode = "manual" if operation in (Operation.CAPTURE, Operation.VOID) else "automatic"
    payment, request, challenge = await bench.pending(capture=mode, amount=amount)
    path, approval = f"/v1/payments/{payment}", bench.devices.confirmation(payment, challenge)
    if operation is Operation.CHARGE:
        return payment, f"{path}/confirmation", approval
    await bench.confirm(payment, approval)
    if operation is Operation.CAPTURE:
        return payment, f"{path}/captures", bench.devices.capture(request, TAKEN)
    if operation is Operation.VOID:
        return payment, f"{path}/cancellation", bench.devices.cancel(request)
    return payment, f"{path}/refunds", bench.devices.refund(request, REFUNDED)


async def pass_on(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)


async def kill(bench: Bench, process: Process, wire: Wire, order: Order, answers: int) -> None:
    """Send the order, and kill the server while Stripe's last of ``answers`` is on its way."""
    _, path, statement = order
    answered, killed = asyncio.Event(), asyncio.Event()
    wire.faults += [*[pass_on] * (answers - 1), kept_back(answered, killed)]
    sent = asyncio.create_task(bench.post(path, statement, prefer="wait=20"))
    async with asyncio.timeout(DEADLINE_S):
        await answered.wait()
    assert len(bench.rows("SELECT id FROM outbox WHERE state = 'calling'")) == 1
    assert process.end(signal.SIGKILL) == -signal.SIGKILL
    killed.set()
    with suppress(httpx.TransportError):
        await sent


async def end_of(folder: StateFolder, devices: Devices, wire: Wire, order: Order) -> Any:
    """The payment, when the server is back and has got the same statement again."""
    payment, path, statement = order
    settings = {"stripe_key": KEY, "stripe_url": wire.url}
    async with running(folder, devices, processor="stripe", **settings) as bench:
        answer = await bench.post(path, statement, prefer="wait=20")
        assert answer.status_code in (200, 201), answer.text
        shown = await bench.payment(payment)
        assert bench.orders(payment) == len(bench.rows("SELECT DISTINCT operation FROM outbox"))
    await asyncio.to_thread(check_audit, folder)
    return shown


@pytest.fixture
async def charging(prepared: Prepared, tmp_path: Path, wire: Wire, stripe: str) -> Prepared:
    """A server that has stopped and charges by Stripe, where nobody has ever paid."""
    await empty(stripe)
    folder, devices = copied(prepared, tmp_path / "server")
    charge_by_stripe(folder.path, wire)
    return folder, devices


@pytest.mark.parametrize("operation", list(Operation))
async def test_a_server_killed_before_stripes_answer_has_it_carried_out_once(
    charging: Prepared, wire: Wire, stripe: str, operation: Operation
) -> None:
    folder, devices = charging
    async with apart(folder, devices) as (bench, process):
        devices.method_id = await bench.add_method("pm_card_visa")
        order = await prepare(bench, operation)
        await kill(bench, process, wire, order, answers=1)
    shown = await end_of(folder, devices, wire, order)
    assert (shown["status"], shown["captured_minor"], shown["refunded_minor"]) == ENDS[operation]
    await check_account(stripe, order[0], operation)


@pytest.mark.parametrize("answers", [1, 2], ids=["made", "cancelled"])
async def test_a_server_killed_amid_a_charge_that_needs_its_owner_charges_nothing(
    charging: Prepared, wire: Wire, stripe: str, answers: int
) -> None:
    """Such a charge is made and then cancelled: it must not be paid later without us."""
    folder, devices = charging
    async with apart(folder, devices) as (bench, process):
        devices.method_id = await bench.add_method(await asking_its_owner(stripe))
        order = await prepare(bench, Operation.CHARGE)
        await kill(bench, process, wire, order, answers)
    shown = await end_of(folder, devices, wire, order)
    assert (shown["status"], shown["reason"]) == ("refused", "authentication_required")
    (intent,) = await charged_at_stripe(stripe, order[0])
    assert (intent["status"], intent["latest_charge"]) == ("canceled", None)

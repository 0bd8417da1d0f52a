"""The server is killed while Stripe's answer is on its way, and comes back: each order once."""

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
from tests.server.devices import Devices
from tests.server.process import Process, started
from tests.server.stripe_peer import KEY, Wire, charged_at_stripe, held_up, refunded_at_stripe
from twochannel.tls import client_context

_AGREED, _TAKEN, _REFUNDED = 8000, 4217, 150


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


def charging_by_stripe(folder: StateFolder, wire: Wire) -> None:
    """The settings of the process. The key is in a file, for the environment may be anybody's."""
    key, config = folder.path / "stripe.key", folder.path / "config.toml"
    key.write_text(KEY)
    chosen = f'processor = "stripe"\nstripe_key_file = "{key}"\nstripe_url = "{wire.url}"\n'
    text = config.read_text()
    assert 'processor = "simulated"\n' in text
    config.write_text(text.replace('processor = "simulated"\n', chosen))


def stopped(arrived: asyncio.Event, until: asyncio.Event) -> Callable[..., Any]:
    """Stripe has answered, and its answer gets no further ``until`` nobody waits for it."""

    async def act(writer: asyncio.StreamWriter, data: bytes) -> None:
        arrived.set()
        await held_up(until)(writer, data)

    return act


async def prepare(bench: Bench, operation: Operation) -> tuple[str, str, str]:
    """A payment, and the address and statement of its order of ``operation``, not sent yet."""
    amount = {"value": _AGREED, "currency": "EUR"}
    mode = "manual" if operation is Operation.CAPTURE else "automatic"
    payment, request, challenge = await bench.pending(capture=mode, amount=amount)
    path, approval = f"/v1/payments/{payment}", bench.devices.confirmation(payment, challenge)
    if operation is Operation.CHARGE:
        return payment, f"{path}/confirmation", approval
    await bench.confirm(payment, approval)
    if operation is Operation.CAPTURE:
        return payment, f"{path}/captures", bench.devices.capture(request, _TAKEN)
    return payment, f"{path}/refunds", bench.devices.refund(request, _REFUNDED)


@pytest.mark.parametrize("operation", [Operation.CHARGE, Operation.CAPTURE, Operation.REFUND])
async def test_a_server_killed_before_stripes_answer_has_it_carried_out_once(
    prepared: Prepared, tmp_path: Path, wire: Wire, stripe: str, operation: Operation
) -> None:
    folder, devices = copied(prepared, tmp_path / "server")
    charging_by_stripe(folder, wire)
    async with apart(folder, devices) as (bench, process):
        devices.method_id = await bench.add_method("pm_card_visa")
        payment, path, statement = await prepare(bench, operation)
        answered, killed = asyncio.Event(), asyncio.Event()
        wire.faults.append(stopped(answered, killed))
        sent = asyncio.create_task(bench.post(path, statement, prefer="wait=20"))
        async with asyncio.timeout(DEADLINE_S):
            await answered.wait()
        assert bench.rows(
            "SELECT id FROM outbox WHERE payment_id = ? AND operation = ? AND state = 'calling'",
            payment,
            operation.value,
        )
        assert process.end(signal.SIGKILL) == -signal.SIGKILL
        killed.set()
        with suppress(httpx.TransportError):
            await sent
    settings = {"stripe_key": KEY, "stripe_url": wire.url}
    async with running(folder, devices, processor="stripe", **settings) as bench:
        answer = await bench.post(path, statement, prefer="wait=20")
        assert answer.status_code in (200, 201), answer.text
        shown = await bench.payment(payment)
        assert bench.orders(payment) == (1 if operation is Operation.CHARGE else 2)
    taken = _TAKEN if operation is Operation.CAPTURE else _AGREED
    refunds = [_REFUNDED] if operation is Operation.REFUND else []
    assert (shown["status"], shown["captured_minor"]) == ("captured", taken)
    assert shown["refunded_minor"] == sum(refunds)
    (intent,) = await charged_at_stripe(stripe, payment)
    assert intent["status"] == "succeeded"
    made = await refunded_at_stripe(stripe, payment)
    assert [refund["amount"] for refund in made] == refunds

"""A server dies at a step of an order and comes back; what must be then, on any ground.

A ground is a database and a processor, as the settings of a state folder name them.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from click.testing import CliRunner
from sqlalchemy import select, update

from server.cli import main
from server.kinds import Operation, OutboxState
from server.schema.orders import outbox
from server.state import StateFolder
from tests.server.bench import JWT, running
from tests.server.crashing import Step
from tests.server.devices import Devices
from tests.server.process import challenge_of, client, environment
from tests.server.stripe_peer import charged_at_stripe, refunded_at_stripe
from twochannel.protocol.payment import Status

AGREED, TAKEN, REFUNDED = 8000, 4217, 150
#: Of each operation: the payment's status, what was captured, and what was given back.
ENDS: Final = {
    Operation.CHARGE: (Status.CAPTURED, AGREED, 0),
    Operation.CAPTURE: (Status.CAPTURED, TAKEN, 0),
    Operation.VOID: (Status.VOIDED, 0, 0),
    Operation.REFUND: (Status.CAPTURED, AGREED, REFUNDED),
}


@dataclass
class Crasher:
    """The process that is forked for each server which is to die."""

    popen: subprocess.Popen[str]

    def start(self, state: Path, step: Step) -> str:
        """Where it serves."""
        assert self.popen.stdin is not None
        self.popen.stdin.write(json.dumps({"state": str(state), "step": step.told()}) + "\n")
        self.popen.stdin.flush()
        return str(self._next()["url"])

    def ended(self) -> int:
        return int(self._next()["ended"])

    def _next(self) -> dict[str, Any]:
        assert self.popen.stdout is not None
        told: dict[str, Any] = json.loads(self.popen.stdout.readline())
        return told


@contextmanager
def starting_crasher() -> Iterator[Crasher]:
    """One, while the block runs."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.server.crashing"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(),
    ) as popen:
        yield Crasher(popen)
        popen.kill()


@dataclass(frozen=True)
class Ground:
    """A server that has stopped, and the devices that it knows.

    ``settings``: those of its folder that say which database and processor it has. ``token``: of
    the payment method that is charged; none: the phone has one already.
    """

    folder: StateFolder
    devices: Devices
    settings: dict[str, str] = field(default_factory=dict)
    token: str | None = None


@dataclass(frozen=True)
class Placed:
    """An order that has been sent: its payment, where it was sent, and the very bytes."""

    payment: str
    path: str
    statement: str


async def outlived(ground: Ground, crasher: Crasher, step: Step) -> str:
    """The payment of an order that is carried out by a server that came back from ``step``.

    It is as if nothing had been, and the audit is clean. What the processor has of it is for the
    caller to see.
    """
    placed = await asyncio.to_thread(_crash, ground, crasher, step)
    _check_left(ground.folder, placed.payment, step)
    async with running(ground.folder, ground.devices, **ground.settings) as bench:
        answer = await bench.post(placed.path, placed.statement, prefer="wait=20")
        assert answer.status_code in (200, 201), answer.text
        shown = await bench.payment(placed.payment)
    amounts = tuple(shown[f"{what}_minor"] for what in ("captured", "refunded"))
    assert (shown["status"], *amounts) == ENDS[step.operation]
    assert shown["authorized_minor"] == AGREED
    await asyncio.to_thread(check_audit, ground.folder)
    return placed.payment


def _crash(ground: Ground, crasher: Crasher, step: Step) -> Placed:
    url = crasher.start(ground.folder.path, step)
    with client(ground.folder, url) as http:
        placed = _place(ground, http, step.operation)
    assert crasher.ended() == -signal.SIGKILL
    return placed


def _place(ground: Ground, http: httpx.Client, operation: Operation) -> Placed:
    """Send an order of ``operation``, and before it all that it needs.

    Nobody may be left to answer the last.
    """
    devices = ground.devices
    if ground.token is not None:
        method = http.post("/v1/payment-methods", content=devices.method(ground.token), headers=JWT)
        devices.method_id = str(method.json()["id"])
    mode = "automatic" if operation in (Operation.CHARGE, Operation.REFUND) else "manual"
    request = devices.request(capture=mode, amount={"value": AGREED, "currency": "EUR"})
    payment = str(http.post("/v1/payments", content=request, headers=JWT).json()["id"])
    approval = devices.confirmation(payment, challenge_of(ground.folder, payment))
    confirm = Placed(payment, f"/v1/payments/{payment}/confirmation", approval)
    if operation is Operation.CHARGE:
        return _sent(http, confirm)
    settled = _post(http, confirm).json()["status"]
    assert settled == ("captured" if mode == "automatic" else "authorized")
    if operation is Operation.CAPTURE:
        where, statement = "captures", devices.capture(request, TAKEN)
    elif operation is Operation.VOID:
        where, statement = "cancellation", devices.cancel(request)
    else:
        where, statement = "refunds", devices.refund(request, REFUNDED)
    return _sent(http, Placed(payment, f"/v1/payments/{payment}/{where}", statement))


def _post(http: httpx.Client, placed: Placed) -> httpx.Response:
    headers = JWT | {"prefer": "wait=20"}
    return http.post(placed.path, content=placed.statement, headers=headers)


def _sent(http: httpx.Client, placed: Placed) -> Placed:
    with suppress(httpx.TransportError):
        _post(http, placed)
    return placed


def _check_left(folder: StateFolder, payment: str, step: Step) -> None:
    """The order is where the step says. Servers that share a database would wait for its lease."""
    of_payment = select(outbox.c.state).where(
        outbox.c.payment_id == payment, outbox.c.operation == step.operation.value
    )
    calling = outbox.c.state == OutboxState.CALLING.value
    store = folder.open_store()
    states = store.read_now(lambda c: list(c.scalars(of_payment)))
    if store.shared:
        ended = update(outbox).where(calling).values(lease_until_ms=1)
        store.write_now(lambda c: c.execute(ended))
    store.close_now()
    assert states == ([] if step.left is None else [step.left])


def check_audit(folder: StateFolder) -> None:
    """Of all that there is, as the operator makes it."""
    audited = CliRunner().invoke(main, ["--state", str(folder.path), "audit"])
    assert audited.exit_code == 0, audited.output


async def check_account(stripe: str, payment: str, operation: Operation) -> None:
    """At Stripe it is as if the server had never died; the auditor compares what was captured."""
    (intent,) = await charged_at_stripe(stripe, payment)
    status = "canceled" if operation is Operation.VOID else "succeeded"
    assert (intent["status"], intent["amount"]) == (status, AGREED)
    _, _, refunded = ENDS[operation]
    refunds = await refunded_at_stripe(stripe, payment)
    assert [refund["amount"] for refund in refunds] == [refunded] * bool(refunded)

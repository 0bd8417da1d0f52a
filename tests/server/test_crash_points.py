"""The server dies at every step of every order, and comes back: each is carried out once.

Steps are made of the operations and states of the outbox (``server.kinds``), not listed by hand.
After each: the device sends the same statement again, the order ends as if nothing had been, the
processor has booked it once, and the audit is clean.
"""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.kinds import Operation
from server.state import StateFolder
from tests.adversaries.scene import findings
from tests.server.bench import JWT, Bench, Prepared, copied, running
from tests.server.crashing import Step, steps
from tests.server.devices import Devices
from tests.server.process import challenge_of, client, environment
from twochannel.protocol.payment import Status

_STEPS = list(steps())
_AGREED, _TAKEN, _REFUNDED = 8000, 4217, 150


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


@pytest.fixture(scope="module")
def crasher() -> Iterator[Crasher]:
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
class Placed:
    """An order that has been sent: its payment, where it was sent, and the very bytes."""

    payment: str
    path: str
    statement: str


def place(
    folder: StateFolder, http: httpx.Client, devices: Devices, operation: Operation
) -> Placed:
    """Send an order of ``operation``, and before it all that it needs.

    Nobody may be left to answer the last.
    """
    mode = "automatic" if operation in (Operation.CHARGE, Operation.REFUND) else "manual"
    request = devices.request(capture=mode, amount={"value": _AGREED, "currency": "EUR"})
    payment = str(http.post("/v1/payments", content=request, headers=JWT).json()["id"])
    approval = devices.confirmation(payment, challenge_of(folder, payment))
    confirm = Placed(payment, f"/v1/payments/{payment}/confirmation", approval)
    if operation is Operation.CHARGE:
        return _sent(http, confirm)
    settled = _post(http, confirm).json()["status"]
    assert settled == ("captured" if mode == "automatic" else "authorized")
    if operation is Operation.CAPTURE:
        where, statement = "captures", devices.capture(request, _TAKEN)
    elif operation is Operation.VOID:
        where, statement = "cancellation", devices.cancel(request)
    else:
        where, statement = "refunds", devices.refund(request, _REFUNDED)
    return _sent(http, Placed(payment, f"/v1/payments/{payment}/{where}", statement))


def _post(http: httpx.Client, placed: Placed) -> httpx.Response:
    headers = JWT | {"prefer": "wait=20"}
    return http.post(placed.path, content=placed.statement, headers=headers)


def _sent(http: httpx.Client, placed: Placed) -> Placed:
    with suppress(httpx.TransportError):
        _post(http, placed)
    return placed


@pytest.mark.parametrize("step", _STEPS, ids=str)
async def test_after_a_crash_the_order_is_carried_out_once(
    prepared: Prepared, tmp_path: Path, crasher: Crasher, step: Step
) -> None:
    folder, devices = copied(prepared, tmp_path / "server")
    url = crasher.start(folder.path, step)
    with client(folder, url) as http:
        placed = place(folder, http, devices, step.operation)
    assert crasher.ended() == -signal.SIGKILL
    async with running(folder, devices) as bench:
        answer = await bench.post(placed.path, placed.statement, prefer="wait=20")
        assert answer.status_code in (200, 201), answer.text
        await check_end(bench, placed, step.operation)
    assert findings(folder) == []


async def check_end(bench: Bench, placed: Placed, operation: Operation) -> None:
    """Payment and books are as if the server had never died."""
    shown = await bench.payment(placed.payment)
    amounts = tuple(shown[f"{what}_minor"] for what in ("authorized", "captured", "refunded"))
    ends = {
        Operation.CHARGE: (Status.CAPTURED, _AGREED, 0),
        Operation.CAPTURE: (Status.CAPTURED, _TAKEN, 0),
        Operation.VOID: (Status.VOIDED, 0, 0),
        Operation.REFUND: (Status.CAPTURED, _AGREED, _REFUNDED),
    }
    status, captured, refunded = ends[operation]
    assert (shown["status"], *amounts) == (status, _AGREED, captured, refunded)
    with closing(sqlite3.connect(bench.folder.path / "processor.sqlite3")) as books:
        query = "SELECT authorized_minor, captured_minor FROM charges WHERE payment = ?"
        assert list(books.execute(query, (placed.payment,))) == [(_AGREED, captured)]
        query = "SELECT amount_minor FROM refunds WHERE payment = ?"
        assert list(books.execute(query, (placed.payment,))) == [(refunded,)] * bool(refunded)


def test_every_operation_dies_in_every_state() -> None:
    """A new state or operation has its crash points by itself; this says that they are not lost."""
    assert len(_STEPS) == len(set(map(str, _STEPS))) == 4 * 14

"""A whole server in this process, on a free port, with one device of each kind at its door."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import func, select

from server import agent
from server.answers import Problem
from server.config import ServerSettings
from server.registry import add_enrolment_code, add_merchant
from server.schema.journal import journal, journal_checkpoints
from server.schema.notices import failures
from server.schema.tables import metadata
from server.state import StateFolder, initialise
from server.store import Store
from tests.server.devices import Devices, new_id, new_signer
from tests.server.sql import execute
from twochannel.keystore.file import FileSigner
from twochannel.protocol.envelope import verify
from twochannel.protocol.errors import PROBLEMS, ErrorCode
from twochannel.protocol.statements import Identity, Presence, Role
from twochannel.protocol.wire import base64url
from twochannel.tls import client_context
from twochannel.trace import wall_ms

JWT = {"content-type": "application/jwt"}
DEADLINE_S = 20.0
#: Settings for tests that ask and fail more than anybody would.
UNLIMITED = dict.fromkeys(
    (
        "prompts_per_jack",
        "denials_per_terminal",
        "unknown_codes_per_terminal",
        "failed_confirmations_per_phone",
        "failed_enrolments_per_address",
    ),
    10_000,
)
MERCHANT = "blue-bottle"
#: A state folder whose server has stopped, and the devices that it knows.
Prepared = tuple[StateFolder, Devices]
#: A processor's answer is there within so many pauses.
_TRIES, _PAUSE_S = 100, 0.02


@dataclass
class Bench:
    """The running server, an HTTPS client that pins it, its database, and the devices."""

    url: str
    folder: StateFolder
    http: httpx.AsyncClient
    store: Store
    devices: Devices
    stop: asyncio.Event

    async def post(self, path: str, compact: str, **headers: str) -> httpx.Response:
        return await self.http.post(path, content=compact, headers=JWT | headers)

    async def get(self, path: str, signer: FileSigner, **headers: str) -> httpx.Response:
        proof = self.devices.proof(signer, "GET", path)
        return await self.http.get(path, headers={"authorization": f"Bearer {proof}"} | headers)

    def enrolment_code(self, role: Role, merchant: str | None = None) -> str:
        code = base64url(secrets.token_bytes(16))
        self.store.write_now(
            lambda c: add_enrolment_code(c, code, role, "Lane 1", merchant, wall_ms())
        )
        return code

    async def enrol(self) -> None:
        """Enrol terminal and phone, pair the jack, add a payment method."""
        devices = self.devices
        for signer, role, merchant in (
            (devices.terminal, Role.TERMINAL, MERCHANT),
            (devices.phone, Role.PHONE, None),
        ):
            code = self.enrolment_code(role, merchant)
            answer = await self.post("/v1/enrolments", devices.enrolment(signer, role, code))
            assert answer.status_code == 201, answer.text
        answer = await self.post("/v1/pairings", devices.acceptance())
        assert answer.status_code == 201, answer.text
        devices.method_id = await self.add_method("tok_success")

    async def add_method(self, token: str) -> str:
        answer = await self.post("/v1/payment-methods", self.devices.method(token))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def pending(self, **changes: Any) -> tuple[str, str, str]:
        """A pending payment: its id, its request and its challenge."""
        request = self.devices.request(**changes)
        answer = await self.post("/v1/payments", request)
        assert answer.status_code == 201, answer.text
        payment = str(answer.json()["id"])
        return payment, request, self.statement(payment, "challenge+jwt")

    async def held(self, value: int = 8000) -> tuple[str, str]:
        """A payment that holds an amount: its id and its request."""
        amount = {"value": value, "currency": "EUR"}
        payment, request, challenge = await self.pending(capture="manual", amount=amount)
        answer = await self.confirm(payment, self.devices.confirmation(payment, challenge))
        assert answer.json()["status"] == "authorized", answer.text
        return payment, request

    async def confirm(self, payment: str, compact: str, wait_s: int = 20) -> httpx.Response:
        path = f"/v1/payments/{payment}/confirmation"
        return await self.post(path, compact, prefer=f"wait={wait_s}")

    async def payment(self, payment: str) -> dict[str, Any]:
        answer = await self.get(f"/v1/payments/{payment}", self.devices.terminal)
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    async def clear(self) -> None:
        """End what is pending, so that the next test finds everyone free."""
        for payment, request in self.rows(
            "SELECT p.id, s.compact FROM payments p JOIN statements s ON s.payment_id = p.id"
            " AND s.position = 1 WHERE p.status = 'pending'"
        ):
            path = f"/v1/payments/{payment}/cancellation"
            assert (await self.post(path, self.devices.cancel(request))).status_code == 200
        for _ in range(_TRIES):  # an order may be left under way on purpose
            if not self.rows("SELECT id FROM outbox WHERE state IN ('queued', 'calling')"):
                break
            await asyncio.sleep(_PAUSE_S)

    def statement(self, payment: str, typ: str) -> str:
        query = (
            "SELECT compact FROM statements WHERE payment_id = ? AND typ = ? ORDER BY position DESC"
        )
        return str(self.rows(query, payment, typ)[0][0])

    def statement_types(self, payment: str) -> list[str]:
        query = "SELECT typ FROM statements WHERE payment_id = ? ORDER BY position"
        return [row[0] for row in self.rows(query, payment)]

    def orders(self, payment: str) -> int:
        """How many orders of the payment the outbox holds, done or not."""
        return len(self.rows("SELECT id FROM outbox WHERE payment_id = ?", payment))

    def rows(self, sql: str, *parameters: object) -> list[Any]:
        return self.store.read_now(lambda c: list(execute(c, sql, *parameters)))

    async def refused(self, path: str, compact: str, code: ErrorCode) -> None:
        """The statement is refused with ``code``, and nothing is written."""
        before = self.row_counts()
        check_problem(await self.post(path, compact), code)
        changed = dict(self.row_counts().items() - before.items())
        assert not changed, f"rows were written: {changed}, were {before}"

    async def enrolled(self, role: Role) -> FileSigner:
        """Another device of a role."""
        signer = new_signer()
        merchant = MERCHANT if role is Role.TERMINAL else None
        code = self.enrolment_code(role, merchant)
        answer = await self.post("/v1/enrolments", self.devices.enrolment(signer, role, code))
        assert answer.status_code == 201, answer.text
        return signer

    async def other_car(self) -> Devices:
        """Another jack and phone with the same terminal, enrolled and paired."""
        devices = Devices(self.devices.identity, terminal=self.devices.terminal)
        devices.phone = await self.enrolled(Role.PHONE)
        assert (await self.post("/v1/pairings", devices.acceptance())).status_code == 201
        method = await self.post("/v1/payment-methods", devices.method())
        devices.method_id = method.json()["id"]
        return devices

    def row_counts(self) -> dict[str, int]:
        """How many rows each table has: what a refused request must not change.

        But for the count of failures itself, and for what is made of statements a moment later.
        """
        apart = (failures, journal, journal_checkpoints)
        return self.store.read_now(
            lambda c: {
                table.name: c.scalar(select(func.count()).select_from(table)) or 0
                for table in metadata.sorted_tables
                if table not in apart
            }
        )


def check_problem(answer: httpx.Response, code: ErrorCode) -> None:
    """The answer is the problem document of ``code``, with the server's time."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem = Problem.model_validate_json(answer.text)
    assert (problem.code, problem.status) == (code.value, PROBLEMS[code].status), problem
    assert answer.status_code == problem.status
    assert problem.server_time_ms == int(answer.headers["cigarjack-time"])


def make_folder(
    path: Path, presence: Presence = Presence.PREFER, database: str = ""
) -> StateFolder:
    """A server's state folder with one merchant."""
    folder = StateFolder(path)
    initialise(folder, ServerSettings(port=0, database=database), new_id, secrets.randbits(64) | 1)
    store = folder.open_store()
    store.write_now(lambda c: add_merchant(c, MERCHANT, "Blue Bottle", presence, wall_ms()))
    store.close_now()
    return folder


def copied(prepared: Prepared, path: Path) -> tuple[StateFolder, Devices]:
    """The same server and devices again, for a test of their own."""
    folder, devices = prepared
    shutil.copytree(folder.path, path)
    return StateFolder(path), copy(devices)


@asynccontextmanager
async def running(
    folder: StateFolder, devices: Devices | None = None, **settings: Any
) -> AsyncIterator[Bench]:
    """The server of ``folder`` while the block runs."""
    started: asyncio.Future[dict[str, object]] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    chosen = ServerSettings(port=0, processor_hang_s=0.05, **(UNLIMITED | settings))
    task = asyncio.create_task(agent.run(folder, chosen, started.set_result, stop))
    await asyncio.wait((task, started), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    identity = verify(folder.identity(), Identity, folder.keys.signer("signing").key)
    url, known = str((await started)["url"]), devices or Devices(identity)
    async with at_door(url, folder, folder.open_store(chosen), known, stop) as bench:
        yield bench
    stop.set()
    async with asyncio.timeout(DEADLINE_S):
        await task


@asynccontextmanager
async def at_door(
    url: str, folder: StateFolder, store: Store, devices: Devices, stop: asyncio.Event
) -> AsyncIterator[Bench]:
    """A bench at a server that runs, wherever it does."""
    context = client_context(folder.certificate())
    async with httpx.AsyncClient(
        base_url=url, verify=context, timeout=DEADLINE_S, trust_env=False
    ) as http:
        yield Bench(url, folder, http, store, devices, stop)
    store.close_now()


@asynccontextmanager
async def running_on(
    database: str, prepared: Prepared, path: Path, **settings: Any
) -> AsyncIterator[Bench]:
    """A server with enrolled devices in the folder ``path``, on an empty ``database``.

    That of a server on SQLite is copied, with the devices that it knows.
    """
    if database.startswith("sqlite"):
        async with running(*copied(prepared, path), **settings) as bench:
            yield bench
        return
    folder = make_folder(path, database=database)
    async with running(folder, database=database, **settings) as bench:
        await bench.enrol()
        yield bench

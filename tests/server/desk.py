"""A server's outbox at work: its world, its processor, and what a test may replace of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import update

from server.announcement import Announcer
from server.calls import Job, get_job
from server.notifications import OUTBOX, Notifications, payment_topic
from server.outbox import Clearing, run_worker
from server.processors.port import (
    Abilities,
    CaptureOrder,
    ChargeOrder,
    Order,
    Outcome,
    Processor,
    RefundOrder,
    Refused,
    VoidOrder,
)
from server.processors.simulated import SimulatedProcessor
from server.reconciler import run_reconciler
from server.review_decisions import Verdict, decide
from server.reviews import list_reviews
from server.schema.orders import outbox
from server.schema.tables import metadata
from server.store import Store, database_url
from tests.server.world import World
from twochannel.protocol.payment import CaptureMode
from twochannel.trace import Trace, wall_ms

DEADLINE_S = 20


class Wrapped:
    """A processor whose calls a test can replace one by one; the rest reach the real books."""

    def __init__(self, inner: Processor, abilities: Abilities | None = None) -> None:
        self.inner = inner
        self.abilities = abilities or inner.abilities
        self.calls: list[str] = []
        self.lookups: list[str] = []
        self.hanging = asyncio.Event()
        self.instead_of_charge: list[Callable[[ChargeOrder], Awaitable[Outcome]]] = []
        self.instead_of_capture: list[Callable[[CaptureOrder], Awaitable[Outcome]]] = []
        self.instead_of_refund: list[Callable[[RefundOrder], Awaitable[Outcome]]] = []
        self.instead_of_lookup: list[Callable[[Order], Awaitable[Outcome | None]]] = []

    async def charge(self, order: ChargeOrder) -> Outcome:
        self.calls.append(order.idempotency_key)
        act = self.instead_of_charge.pop(0) if self.instead_of_charge else self.inner.charge
        return await act(order)

    async def capture(self, order: CaptureOrder) -> Outcome:
        self.calls.append(order.idempotency_key)
        act = self.instead_of_capture.pop(0) if self.instead_of_capture else self.inner.capture
        return await act(order)

    async def void(self, order: VoidOrder) -> Outcome:
        self.calls.append(order.idempotency_key)
        return await self.inner.void(order)

    async def refund(self, order: RefundOrder) -> Outcome:
        self.calls.append(order.idempotency_key)
        act = self.instead_of_refund.pop(0) if self.instead_of_refund else self.inner.refund
        return await act(order)

    async def lookup(self, order: Order) -> Outcome | None:
        self.lookups.append(order.idempotency_key)
        act = self.instead_of_lookup.pop(0) if self.instead_of_lookup else self.inner.lookup
        return await act(order)

    async def keep(self, method_id: str, token: str) -> str | Refused:
        return await self.inner.keep(method_id, token)

    async def forget(self, kept: str) -> None:
        await self.inner.forget(kept)

    async def hang(self, _: object) -> Any:
        """Instead of an answer: never one; ``hanging`` tells that the call has arrived."""
        self.hanging.set()
        await never(_)


def raises(error: Exception) -> Callable[[Any], Awaitable[Any]]:
    async def act(_: object) -> Any:
        raise error

    return act


def answers(outcome: Outcome | None) -> Callable[[Any], Awaitable[Any]]:
    async def act(_: object) -> Any:
        return outcome

    return act


async def never(_: object) -> Any:
    await asyncio.Event().wait()


#: For how long an answer of the processor is waited: longer than a busy machine takes, and only as
#: long as a test waits where none is to come.
PATIENT_S = 10.0
HASTY_S = 2.0


class Desk:
    """One server's world, processor and clearing."""

    def __init__(
        self, world: World, store: Store, processor: Wrapped, notifications: Notifications
    ) -> None:
        self.world = world
        self.processor = processor
        self.notifications = notifications
        self.trace = Trace("server", None, boot="test")
        self.announce = Announcer(self.trace, notifications)
        self.clearing = Clearing(
            store=store,
            processor=processor,
            issuer=world.issuer,
            announce=self.announce,
            notifications=notifications,
            trace=self.trace,
            clock_ms=wall_ms,
            jitter=lambda: 0.5,
            timeout_s=PATIENT_S,
        )

    @asynccontextmanager
    async def running(self, *, reconciler: bool = True) -> AsyncIterator[None]:
        if self.world.store.shared:
            # Nobody else works here: leases that are left are of the dead, and not waited out.
            ended = update(outbox).values(lease_until_ms=1)
            self.world.store.write_now(
                lambda c: c.execute(ended.where(outbox.c.state == "calling"))
            )
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run_worker(self.clearing))]
            if reconciler:
                tasks.append(group.create_task(run_reconciler(self.clearing)))
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    def confirmed(
        self,
        token: str = "tok_success",
        mode: CaptureMode = CaptureMode.AUTOMATIC,
        value: int = 450,
    ) -> str:
        payment = self.world.request(value, mode)
        self.world.confirm(payment, token=token)
        self.notifications.wake(OUTBOX)
        return payment

    async def until(self, payment: str, **expected: object) -> dict[str, object]:
        """The payment's row, once it has these values."""
        return await self._until(payment, lambda: self.world.payment(payment), expected)

    async def until_outbox(
        self, payment: str, operation: str = "charge", **expected: object
    ) -> None:
        """Return once the outbox row of the operation has these values."""
        await self._until(payment, lambda: self.outbox(payment, operation), expected)

    async def until_hanging(self) -> None:
        """Return once a call has arrived that is not answered; a row says so before the call."""
        async with asyncio.timeout(DEADLINE_S):
            await self.processor.hanging.wait()

    async def until_refund(self, payment: str, refund: str, **expected: object) -> None:
        """Return once the refund has these values."""

        def look() -> dict[str, object]:
            return self.world.rows("SELECT * FROM refunds WHERE id = ?", refund)[0]

        await self._until(payment, look, expected)

    async def _until(
        self, payment: str, look: Callable[[], dict[str, object]], expected: dict[str, object]
    ) -> dict[str, object]:
        with self.notifications.listen(payment_topic(payment)) as listener:
            async with asyncio.timeout(DEADLINE_S):
                while not expected.items() <= (row := look()).items():
                    await listener.wait(0.02)
        return row

    def job(self, payment: str, operation: str = "charge") -> Job:
        """The order as the worker has it."""
        row_id = self.outbox(payment, operation)["id"]
        return self.world.store.read_now(lambda c: get_job(c, int(str(row_id))))

    def review(self, payment: str) -> dict[str, Any]:
        """The one that waits."""
        waiting = self.world.store.read_now(list_reviews)
        (review,) = [review for review in waiting if review["payment"] == payment]
        return review

    def decide(self, payment: str, verdict: Verdict) -> dict[str, Any]:
        return self.decide_review(self.review(payment)["id"], verdict)

    def decide_review(self, review: int, verdict: Verdict) -> dict[str, Any]:
        issuer = self.world.issuer
        return self.world.store.write_now(lambda c: decide(c, review, verdict, issuer, wall_ms()))

    def outbox(self, payment: str, operation: str = "charge") -> dict[str, object]:
        sql = "SELECT * FROM outbox WHERE payment_id = ? AND operation = ?"
        return self.world.rows(sql, payment, operation)[0]

    def history(self, payment: str) -> list[object]:
        sql = "SELECT to_status FROM payment_events WHERE payment_id = ? ORDER BY seq"
        return [row["to_status"] for row in self.world.rows(sql, payment)]


@asynccontextmanager
async def open_desk(folder: Path, database: str = "") -> AsyncIterator[Desk]:
    url = database or database_url(folder)
    # The test writes at once, past the queue of the store that the worker has.
    store, of_worker = Store(url), Store(url)
    metadata.create_all(store.engine)
    with SimulatedProcessor(folder / "processor.sqlite3", hang_s=60) as simulated:
        world = World(store, now_ms=wall_ms())
        yield Desk(world, of_worker, Wrapped(simulated), Notifications())
        await of_worker.close()
        await store.close()

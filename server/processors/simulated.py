"""The simulated card processor: test payment methods, real books, no network.

What a payment method does is in its token: ``tok_success``; ``tok_decline``; ``tok_hang`` books
the charge and answers ``hang_s`` later; ``tok_lost_answer`` books the charge and loses its first
answer; ``tok_refund_lost_answer`` does so with refunds, and ``tok_refund_refused`` refuses them.
An order that is repeated under its key is answered at once, and so is a look-up.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, Self

from server.processors.books import (
    TOKEN_HANG,
    TOKEN_LOST_ANSWER,
    TOKEN_REFUND_LOST_ANSWER,
    Books,
    Entry,
)
from server.processors.port import (
    Abilities,
    CaptureOrder,
    ChargeOrder,
    KeyConflictError,
    Order,
    Outcome,
    OutcomeUnknownError,
    RefundOrder,
    Refused,
    VoidOrder,
)

#: The books keep keys for ever; no more is promised than card processors usually do, a day.
_RETENTION_S: Final = 24 * 3600


class SimulatedProcessor:
    """A ``Processor`` over its books at ``path``.

    The books are written in a thread of their own: that costs 0.1 ms, but the fsync of a slow
    SD card, tens of milliseconds, then does not hold up the whole server. Orders that come
    meanwhile share the next one.
    """

    abilities = Abilities(idempotency=True, lookup=True, retention_s=_RETENTION_S)

    def __init__(self, path: Path, *, hang_s: float = 30.0) -> None:
        """Open the books. Raises BooksError."""
        self._books = Books(path)
        self._hang_s = hang_s
        self._waiting: deque[tuple[Order, Future[Entry]]] = deque()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="processor-books")

    def close(self) -> None:
        """Finish what is being booked, then close the books."""
        self._thread.shutdown(wait=True)
        self._books.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def charge(self, order: ChargeOrder) -> Outcome:
        entry = await self._enter(order)
        if entry.fresh and entry.token == TOKEN_HANG:
            await asyncio.sleep(self._hang_s)
        if entry.fresh and entry.token == TOKEN_LOST_ANSWER:
            raise OutcomeUnknownError("the answer was lost on its way")
        return entry.outcome

    async def capture(self, order: CaptureOrder) -> Outcome:
        return (await self._enter(order)).outcome

    async def void(self, order: VoidOrder) -> Outcome:
        return (await self._enter(order)).outcome

    async def refund(self, order: RefundOrder) -> Outcome:
        entry = await self._enter(order)
        if entry.fresh and entry.token == TOKEN_REFUND_LOST_ANSWER:
            raise OutcomeUnknownError("the answer was lost on its way")
        return entry.outcome

    async def lookup(self, order: Order) -> Outcome | None:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._books.find, order.idempotency_key)

    async def keep(self, method_id: str, token: str) -> str | Refused:  # noqa: ARG002
        """Test payment methods are good for ever, and a charge says of others what they are."""
        return token

    async def forget(self, kept: str) -> None:
        """Nothing was kept."""

    async def _enter(self, order: Order) -> Entry:
        entry: Future[Entry] = Future()
        self._waiting.append((order, entry))
        self._thread.submit(self._enter_waiting)
        return await asyncio.wrap_future(entry)

    def _enter_waiting(self) -> None:
        """In the thread of the books: all that waits by now and was not given up."""
        taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
        batch = [(order, entry) for order, entry in taken if entry.set_running_or_notify_cancel()]
        if not batch:
            return
        try:
            entered = self._books.enter([order for order, _ in batch])
        except sqlite3.Error as error:
            for _, entry in batch:
                entry.set_exception(error)
            return
        for (_, entry), came in zip(batch, entered, strict=True):
            if isinstance(came, KeyConflictError):
                entry.set_exception(came)
            else:
                entry.set_result(came)

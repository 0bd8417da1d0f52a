"""The worker that carries out what the database decided: it alone calls the processor.

It wakes as soon as something is queued in this process, and looks by itself once a second. Each
call happens outside any transaction; what came of it is recorded in one that settles the payment
too. An answer that is late, lost or unreadable makes ``unknown``, never a guess.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from sqlalchemy import Connection

from server.announcement import Announce
from server.backoff import delay_ms
from server.calls import (
    Job,
    contradicts,
    finish,
    lose,
    lose_abandoned,
    next_work_ms,
    queue_again,
    refer,
    take,
)
from server.issuer import Issuer
from server.notifications import OUTBOX, Notifications
from server.payments import Change
from server.processors.port import (
    Approved,
    ContradictionError,
    KeyConflictError,
    Outcome,
    OutcomeUnknownError,
    Processor,
    ProcessorBusyError,
    ProcessorError,
    Refused,
    carry_out,
    outdated,
)
from server.store import Store, StoreError
from twochannel.protocol.errors import CodedError
from twochannel.trace import Trace

_log = logging.getLogger(__name__)

T = TypeVar("T")

#: Topic of those who wait for an outcome to become unknown (``server.notifications``).
UNKNOWN: Final = "unknown"
#: Calls at once: more would only queue up inside the processor.
MAX_CALLS: Final = 32
#: Another process (the command line) may have queued something, and the clock may jump.
POLL_S: Final = 1.0
#: A lease outlives the call's time-out by what the transaction after it may wait and take.
LEASE_MARGIN_MS: Final = 10_000
#: One server at a time works on a file: at its start every lease is a dead one's.
_EVERY_LEASE_MS: Final = 2**62
#: Why a person must decide an order that was repeated for as long as that was safe.
TOO_OLD: Final = "the processor may have forgotten the order: it is not repeated any more"
#: What the trace and the log call an answer.
_TOLD: Final[dict[type, str]] = {
    Approved: "approved",
    Refused: "refused",
    ProcessorBusyError: "busy",
    OutcomeUnknownError: "unknown",
    KeyConflictError: "key_conflict",
    ContradictionError: "contradiction",
}


@dataclass(frozen=True, slots=True)
class Clearing:
    """What the worker and the reconciler work with.

    ``clock_ms``: Unix milliseconds. ``jitter``: a random number in [0, 1). ``timeout_s``: how
    long one answer of the processor is waited for.
    """

    store: Store
    processor: Processor
    issuer: Issuer
    announce: Announce
    notifications: Notifications
    trace: Trace
    clock_ms: Callable[[], int]
    jitter: Callable[[], float]
    timeout_s: float

    async def ask(self, job: Job, question: Awaitable[T]) -> T | ProcessorError:
        """What the processor answers in time, or the error that stands for its silence."""
        try:
            async with asyncio.timeout(self.timeout_s):
                return await question
        except ProcessorError as error:
            return error
        except TimeoutError:
            return OutcomeUnknownError("no answer in time")
        except Exception:
            # An adapter that fails in a way of its own may have sent the order before it failed.
            _log.exception("processor_adapter_failed", extra={"payment": job.payment_id})
            return OutcomeUnknownError("the adapter failed")

    async def record(self, function: Callable[[Connection], Change | None]) -> Change | None:
        """Run a transaction that may change a payment, and announce it. Raises StoreError."""
        change = await self.store.write(function)
        if change is not None:
            self.announce(change)
        return change

    async def finish(self, job: Job, outcome: Outcome) -> Change | None:
        """Record an outcome, if order and payment can have it. Raises StoreError."""
        if contradicts(job.order, outcome):
            await self.review(job, "the answer contradicts the order")
            return None
        now_ms, issuer = self.clock_ms(), self.issuer
        try:
            return await self.record(lambda c: finish(c, job, outcome, issuer, now_ms))
        except CodedError as error:
            await self.review(job, error.detail)
            return None

    async def lose(self, job: Job) -> None:
        """The outcome is unknown, until the reconciler knows more. Raises StoreError."""
        now_ms, issuer, own = self.clock_ms(), self.issuer, job.own_attempts
        await self.record(
            lambda c: lose(c, job.row_id, issuer, now_ms, next_at_ms=now_ms, own_attempts=own)
        )
        self.notifications.wake(UNKNOWN)

    async def review(self, job: Job, why: str) -> None:
        """Leave ``job`` to a person: in the queue, in the log, in the audit. Raises StoreError."""
        now_ms, issuer = self.clock_ms(), self.issuer
        await self.record(lambda c: refer(c, job, why, issuer, now_ms))
        fields = {"operation": job.operation.value, "why": why}
        _log.error("payment_needs_review", extra={"payment": job.payment_id, **fields})

    def retry_at_ms(self, attempts: int) -> int:
        return self.clock_ms() + delay_ms(attempts, self.jitter())

    def wait_s(self, due_ms: int) -> float:
        """Seconds until ``due_ms``, and no longer than is slept at once."""
        return min(max(due_ms - self.clock_ms(), 0) / 1000, POLL_S)


async def run_worker(clearing: Clearing) -> None:
    """Call the processor for whatever is queued, until cancelled.

    Calls that are cancelled with it stay in their lease. The next start makes them ``unknown``; on
    a database that servers share, whoever finds that the lease has run out.
    """
    calls: set[asyncio.Task[None]] = set()
    lease_end_ms = clearing.clock_ms() if clearing.store.shared else _EVERY_LEASE_MS
    with clearing.notifications.listen(OUTBOX) as listener:
        async with asyncio.TaskGroup() as group:
            while True:
                for job in await _take(clearing, MAX_CALLS - len(calls), lease_end_ms):
                    call = group.create_task(_carry_out(clearing, job), name=f"call {job.row_id}")
                    calls.add(call)
                    call.add_done_callback(calls.discard)
                    call.add_done_callback(lambda _: listener.wake())
                # A look costs a hundredth of a transaction, and mostly there is nothing to do.
                while (idle_s := await _idle_s(clearing, len(calls))) > 0:
                    await listener.wait(idle_s)
                lease_end_ms = clearing.clock_ms()


async def _idle_s(clearing: Clearing, calls: int) -> float:
    """How long nothing is to be done. A call that ends, or a new row, wakes the worker before."""
    if calls >= MAX_CALLS:
        return POLL_S
    try:
        due_ms = await clearing.store.read(next_work_ms)
    except StoreError as error:
        _log.error("outbox_unreadable", extra={"error": str(error)})
        return POLL_S
    return POLL_S if due_ms is None else clearing.wait_s(due_ms)


async def _take(clearing: Clearing, limit: int, lease_end_ms: int) -> list[Job]:
    """Give up what was abandoned, and take what is due. A full disk is waited out."""
    abilities, issuer = clearing.processor.abilities, clearing.issuer

    def look(connection: Connection) -> tuple[list[Change | None], list[Job]]:
        # Now, not before the wait for the database: a lease is for the call.
        now_ms = clearing.clock_ms()
        until_ms = now_ms + round(clearing.timeout_s * 1000) + LEASE_MARGIN_MS
        changes = lose_abandoned(connection, issuer, now_ms, lease_end_ms)
        jobs = take(connection, now_ms, until_ms, limit)
        old = [j for j in jobs if j.attempts and outdated(abilities, j.created_ms, now_ms)]
        changes += [refer(connection, job, TOO_OLD, issuer, now_ms) for job in old]
        return changes, [job for job in jobs if job not in old]

    try:
        changes, jobs = await clearing.store.write(look)
    except StoreError as error:
        _log.error("outbox_unreadable", extra={"error": str(error)})
        await asyncio.sleep(POLL_S)
        return []
    for change in changes:
        if change is not None:
            clearing.announce(change)
        clearing.notifications.wake(UNKNOWN)
    return jobs


async def _carry_out(clearing: Clearing, job: Job) -> None:
    """One call and its record. If that fails the lease runs out, and the row is ``unknown``."""
    fields = {"operation": job.operation.value, "attempt": job.attempts}
    clearing.trace.event("processor_called", job.payment_id, **fields)
    try:
        answer = await clearing.ask(job, carry_out(clearing.processor, job.order))
        await _report(clearing, job, answer)
    except StoreError as error:
        extra = {"payment": job.payment_id, "error": str(error)}
        _log.error("outcome_not_recorded", extra=extra)


async def _report(clearing: Clearing, job: Job, answer: Outcome | ProcessorError) -> None:
    told = _TOLD.get(type(answer), "unknown")
    clearing.trace.event("processor_answered", job.payment_id, outcome=told)
    _log.info("processor_answered", extra={"payment": job.payment_id, "outcome": told})
    match answer:
        case ProcessorBusyError():
            next_at_ms = clearing.retry_at_ms(job.attempts)
            await clearing.store.write(lambda c: queue_again(c, job, next_at_ms))
        case KeyConflictError() | ContradictionError():
            await clearing.review(job, str(answer))
        case ProcessorError():
            await clearing.lose(job)
        case _:
            await clearing.finish(job, answer)

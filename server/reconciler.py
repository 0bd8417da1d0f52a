"""Ends what is unknown: asks the processor what became of an order, and never guesses.

Found: the outcome is recorded as if it had come in time. Not found: the same order under the same
key is safe while the processor promises idempotency; after that, and where it promises nothing,
a person must decide (``needs_review``: in the queue of reviews, in the log, and in the audit).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from server.calls import Job, look_again, next_unknown_ms, queue_again, unknown_jobs
from server.notifications import OUTBOX
from server.outbox import POLL_S, UNKNOWN, Clearing
from server.payments import Change
from server.processors.port import (
    ContradictionError,
    KeyConflictError,
    ProcessorError,
    may_order_again,
)
from server.store import StoreError

_log = logging.getLogger(__name__)

#: Look-ups in one round; more than that are dealt with in the next, at once.
BATCH: Final = 32


async def run_reconciler(clearing: Clearing) -> None:
    """Reconcile whatever is unknown and due, until cancelled."""
    with clearing.notifications.listen(UNKNOWN) as listener:
        while True:
            try:
                wait_s = await _round(clearing)
            except StoreError as error:
                _log.error("reconciler_blocked", extra={"error": str(error)})
                wait_s = POLL_S
            if wait_s > 0:
                await listener.wait(wait_s)


async def _round(clearing: Clearing) -> float:
    """Deal with what is due; return how long nothing else is, in seconds."""
    now_ms = clearing.clock_ms()
    jobs = await clearing.store.read(lambda c: unknown_jobs(c, now_ms, BATCH))
    async with asyncio.TaskGroup() as look_ups:
        for job in jobs:
            look_ups.create_task(reconcile(clearing, job))
    due_ms = await clearing.store.read(next_unknown_ms)
    return POLL_S if due_ms is None else clearing.wait_s(due_ms)


async def reconcile(clearing: Clearing, job: Job) -> None:
    """One step towards a known outcome for ``job``. Raises StoreError."""
    abilities, outcome = clearing.processor.abilities, None
    if abilities.lookup:
        outcome = await clearing.ask(job, clearing.processor.lookup(job.order))
    now_ms = clearing.clock_ms()
    fresh = may_order_again(abilities, job.created_ms, now_ms)
    match outcome:
        case KeyConflictError() | ContradictionError():
            await _refer(clearing, job, str(outcome))
        case ProcessorError() if fresh:
            next_at_ms = clearing.retry_at_ms(job.attempts)
            await clearing.store.write(lambda c: look_again(c, job, next_at_ms))
        case ProcessorError():
            await _refer(clearing, job, f"the processor does not say what became of it: {outcome}")
        case None if fresh:
            await clearing.store.write(lambda c: queue_again(c, job, now_ms))
            _tell(clearing, job, "ordered_again")
            clearing.notifications.wake(OUTBOX)
        case None:
            await _refer(clearing, job, "the processor does not know the order")
        case _:
            change = await clearing.finish(job, outcome)
            _tell(clearing, job, "found", change)


async def _refer(clearing: Clearing, job: Job, cause: str) -> None:
    await clearing.review(job, cause)
    _tell(clearing, job, "needs_review")


def _tell(clearing: Clearing, job: Job, result: str, change: Change | None = None) -> None:
    """``status`` is the payment's new one, or null when it has none yet."""
    status = change.row.status if change is not None else None
    fields = {"operation": job.operation.value, "result": result, "status": status}
    clearing.trace.event("reconciled", job.payment_id, **fields)
    _log.info("reconciled", extra={"payment": job.payment_id, **fields})

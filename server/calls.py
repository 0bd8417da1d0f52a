"""The outbox's transactions: take an operation, finish it, lose it, try it again.

A row lives ``queued`` -> ``calling`` -> ``done``. Whoever calls the processor took the row in a
transaction of its own before, and reports in another one after; in between nothing is locked. A
call whose answer is lost, also by the death of this process, makes ``unknown``, which only the
reconciler ends: with what the processor knows, or by queueing the same order under the same key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, and_, bindparam, func, select, update

from server.issuer import Issuer
from server.kinds import Operation, OutboxState
from server.kinds import Outcome as Result
from server.payments import Change, PaymentRow, end_operation, get_payment, settle
from server.prepared import AnyRow, Prepared
from server.processors.port import (
    Approved,
    CaptureOrder,
    ChargeOrder,
    Order,
    Outcome,
    RefundOrder,
    Refused,
    VoidOrder,
)
from server.refunds import lose_refund, settle_refund
from server.reviews import NEEDS_REVIEW, open_review
from server.schema.orders import OPEN_ORDER, outbox
from server.schema.parties import payment_methods
from server.schema.payments import payments
from twochannel.protocol.payment import SUCCESS, CaptureMode, Event, Status

_QUEUED: Final = outbox.c.state == OutboxState.QUEUED.value
_CALLING: Final = outbox.c.state == OutboxState.CALLING.value
_UNKNOWN: Final = outbox.c.state == OutboxState.UNKNOWN.value
_UNDECIDED: Final = and_(OPEN_ORDER, _UNKNOWN, outbox.c.reason.is_distinct_from(NEEDS_REVIEW))

_ROWS: Final = (
    select(
        outbox,
        payments.c.capture,
        payments.c.processor_reference.label("hold"),
        payment_methods.c.token,
    )
    .join(payments, payments.c.id == outbox.c.payment_id)
    .join(payment_methods, payment_methods.c.id == payments.c.payment_method_id)
)
_DUE_ROWS: Final = (
    _ROWS.where(outbox.c.next_at_ms <= bindparam("now_ms"))
    .order_by(outbox.c.next_at_ms, outbox.c.id)
    .limit(bindparam("limit"))
)
_DUE: Final = Prepared(_DUE_ROWS.where(OPEN_ORDER, _QUEUED))
_TO_LOOK_UP: Final = Prepared(_DUE_ROWS.where(_UNDECIDED))
_JOB: Final = Prepared(_ROWS.where(outbox.c.id == bindparam("row")))
_ABANDONED: Final = Prepared(
    select(outbox.c.id)
    .where(OPEN_ORDER, _CALLING, outbox.c.lease_until_ms <= bindparam("lease_end_ms"))
    .order_by(outbox.c.next_at_ms, outbox.c.id)
)
_NEXT_QUEUED: Final = select(func.min(outbox.c.next_at_ms)).where(OPEN_ORDER, _QUEUED)
_NEXT_LEASE: Final = select(func.min(outbox.c.lease_until_ms)).where(OPEN_ORDER, _CALLING)
_NEXT_WORK: Final = Prepared(select(_NEXT_QUEUED.scalar_subquery(), _NEXT_LEASE.scalar_subquery()))
_NEXT_UNKNOWN: Final = Prepared(select(func.min(outbox.c.next_at_ms)).where(_UNDECIDED))
_TAKE: Final = Prepared(
    update(outbox)
    .where(outbox.c.id == bindparam("row"))
    .values(state=OutboxState.CALLING.value, attempts=outbox.c.attempts + 1)
)
#: Of a row whose processor was called and has not yet said what it did.
_CALLED: Final = update(outbox).where(outbox.c.id == bindparam("row"), _CALLING | _UNKNOWN)
_CHANGE: Final = Prepared(_CALLED)
_CHANGE_OWN: Final = Prepared(_CALLED.where(outbox.c.attempts == bindparam("own_attempts")))
_LOOK_AGAIN: Final = Prepared(
    update(outbox)
    .where(
        outbox.c.id == bindparam("row"),
        _UNKNOWN,
        outbox.c.attempts == bindparam("own_attempts"),
    )
    .values(attempts=outbox.c.attempts + 1)
)
_ROW: Final = Prepared(select(outbox).where(outbox.c.id == bindparam("row")))


@dataclass(frozen=True, slots=True)
class Job:
    """One row of the outbox as an order. ``attempts`` counts calls and vain look-ups so far.

    ``own_attempts`` is that count while the job is this worker's. If the row has another, somebody
    else has gone on with it: only a definite outcome is still taken from who comes late.
    """

    row_id: int
    payment_id: str
    operation: Operation
    order: Order
    attempts: int
    created_ms: int
    own_attempts: int
    refund_id: str | None = None


def contradicts(order: Order, outcome: Outcome) -> bool:
    """Whether the processor says that it did something else than it was asked to do."""
    if isinstance(outcome, Refused):
        return False
    match order:
        case ChargeOrder():
            return outcome.amount_minor != order.amount_minor
        case CaptureOrder():
            asked = (order.reference, order.amount_minor)
            return (outcome.reference, outcome.amount_minor) != asked
        case RefundOrder():
            return outcome.amount_minor != order.amount_minor
        case VoidOrder():
            return outcome.reference != order.reference


def take(connection: Connection, now_ms: int, lease_until_ms: int, limit: int) -> list[Job]:
    """Mark up to ``limit`` queued rows that are due as ``calling``, oldest first."""
    rows = _DUE.all(connection, {"now_ms": now_ms, "limit": limit})
    for row in rows:
        _TAKE.count(connection, {"row": row.id, "lease_until_ms": lease_until_ms})
    return [_job(row, row.attempts + 1) for row in rows]


def unknown_jobs(connection: Connection, now_ms: int, limit: int) -> list[Job]:
    """Rows whose outcome is unknown and that are due to be looked up, oldest first.

    Not those that a person must decide.
    """
    rows = _TO_LOOK_UP.all(connection, {"now_ms": now_ms, "limit": limit})
    return [_job(row, row.attempts) for row in rows]


def next_work_ms(connection: Connection) -> int | None:
    """When the next row is to be taken or the next lease ends; None if nothing is open."""
    moments = [ms for ms in _NEXT_WORK.one(connection) if ms is not None]
    return min(moments, default=None)


def next_unknown_ms(connection: Connection) -> int | None:
    """When the next of ``unknown_jobs`` is due; None if there is none."""
    due_ms: int | None = _NEXT_UNKNOWN.scalar(connection)
    return due_ms


def finish(
    connection: Connection, job: Job, outcome: Outcome, issuer: Issuer, now_ms: int
) -> Change | None:
    """Record what the processor did and settle the payment. None: that was done before."""
    approved = isinstance(outcome, Approved)
    values = {
        "state": OutboxState.DONE.value,
        "lease_until_ms": None,
        "done_ms": now_ms,
        "outcome": (Result.SUCCEEDED if approved else Result.REFUSED).value,
        "processor_reference": getattr(outcome, "reference", None),
        "reason": getattr(outcome, "reason", None),
    }
    if not _change(connection, job.row_id, values):
        _compare_late(connection, job, values, now_ms)
        return None
    return _settle(connection, job, outcome, issuer, now_ms)


def _compare_late(connection: Connection, job: Job, values: dict[str, Any], now_ms: int) -> None:
    """An outcome that comes after another was recorded: if it is not the same, a person decides."""
    row = _ROW.one(connection, {"row": job.row_id})
    told = (values["outcome"], values["processor_reference"])
    if row.state == OutboxState.DONE.value and (row.outcome, row.processor_reference) != told:
        what = " ".join(part for part in told if part)
        open_review(connection, job.row_id, f"a late answer says {what}", now_ms)


def lose(
    connection: Connection,
    row_id: int,
    issuer: Issuer,
    now_ms: int,
    *,
    next_at_ms: int,
    reason: str | None = None,
    own_attempts: int | None = None,
) -> Change | None:
    """Nobody knows the outcome of a call. A charge makes its payment ``unknown``, a refund itself.

    None: nothing else changes, a hold has its operation under way, or it was unknown already.
    """
    values = {
        "state": OutboxState.UNKNOWN.value,
        "lease_until_ms": None,
        "next_at_ms": next_at_ms,
        "reason": reason,
    }
    if not _change(connection, row_id, values, own_attempts):
        return None
    row = _ROW.one(connection, {"row": row_id})
    payment = get_payment(connection, row.payment_id)
    if row.refund_id is not None:
        return lose_refund(connection, payment, row.refund_id)
    if row.operation != Operation.CHARGE.value or payment.status != Status.CONFIRMED.value:
        return None
    return settle(connection, payment, Event.LOSE, now_ms, issuer)


def lose_abandoned(
    connection: Connection, issuer: Issuer, now_ms: int, lease_end_ms: int
) -> list[Change | None]:
    """Rows whose lease ends at ``lease_end_ms`` or before: whoever called has gone.

    Of each what became of its payment, None if that stays as it is.
    """
    abandoned = _ABANDONED.scalars(connection, {"lease_end_ms": lease_end_ms})
    return [lose(connection, row_id, issuer, now_ms, next_at_ms=now_ms) for row_id in abandoned]


def refer(
    connection: Connection, job: Job, cause: str, issuer: Issuer, now_ms: int
) -> Change | None:
    """Leave ``job`` to a person, and say why. What others have made of it meanwhile stays so."""
    open_review(connection, job.row_id, cause, now_ms)
    return lose(
        connection,
        job.row_id,
        issuer,
        now_ms,
        next_at_ms=now_ms,
        reason=NEEDS_REVIEW,
        own_attempts=job.own_attempts,
    )


def give_to_reconciler(connection: Connection, job: Job, now_ms: int) -> bool:
    """A person wants it to be looked up once more."""
    return _change(connection, job.row_id, {"reason": None, "next_at_ms": now_ms})


def get_job(connection: Connection, row_id: int) -> Job:
    """The order of a row, whatever its state."""
    row = _JOB.one(connection, {"row": row_id})
    return _job(row, row.attempts)


def queue_again(connection: Connection, job: Job, next_at_ms: int) -> bool:
    """Order the same again under the same key: it was certainly not, or at most once, done."""
    values = {
        "state": OutboxState.QUEUED.value,
        "lease_until_ms": None,
        "next_at_ms": next_at_ms,
        "reason": None,
    }
    return _change(connection, job.row_id, values, job.own_attempts)


def look_again(connection: Connection, job: Job, next_at_ms: int) -> bool:
    """The row stays ``unknown`` and is looked up once more at ``next_at_ms``."""
    own = {"row": job.row_id, "own_attempts": job.own_attempts}
    values = {**own, "next_at_ms": next_at_ms}
    return _LOOK_AGAIN.count(connection, values) == 1


def _job(row: AnyRow, own_attempts: int) -> Job:
    return Job(
        row_id=row.id,
        payment_id=row.payment_id,
        operation=Operation(row.operation),
        order=_order(row),
        attempts=row.attempts,
        created_ms=row.created_ms,
        own_attempts=own_attempts,
        refund_id=row.refund_id,
    )


def _order(row: AnyRow) -> Order:
    key, payment = row.idempotency_key, row.payment_id
    match Operation(row.operation):
        case Operation.CHARGE:
            mode = CaptureMode(row.capture)
            return ChargeOrder(key, payment, row.token, row.amount_minor, row.currency, mode)
        case Operation.CAPTURE:
            return CaptureOrder(key, payment, row.hold, row.amount_minor, row.currency)
        case Operation.VOID:
            return VoidOrder(key, payment, row.hold)
        case Operation.REFUND:
            return RefundOrder(key, payment, row.hold, row.amount_minor, row.currency)


def _settle(
    connection: Connection, job: Job, outcome: Outcome, issuer: Issuer, now_ms: int
) -> Change:
    payment = get_payment(connection, job.payment_id)
    if job.refund_id is not None:
        return settle_refund(connection, payment, job.refund_id, outcome, now_ms, issuer)
    match outcome:
        case Refused(reason) if job.operation is not Operation.CHARGE:
            return end_operation(connection, payment, now_ms, reason)
        case Refused(reason):
            told: dict[str, Any] = {"reason": reason}
        case Approved(reference, amount_minor):
            told = {"processor_reference": reference, "amount_minor": amount_minor}
    if job.operation is Operation.VOID:
        told["reason"] = payment.reason
    event = _event(job.operation, payment, outcome)
    return settle(connection, payment, event, now_ms, issuer, **told)


def _event(operation: Operation, payment: PaymentRow, outcome: Outcome) -> Event:
    if isinstance(outcome, Refused):
        return Event.REFUSE
    if operation is Operation.CHARGE:
        return SUCCESS[CaptureMode(payment.capture)]
    return Event.CAPTURE if operation is Operation.CAPTURE else Event.VOID


def _change(
    connection: Connection, row_id: int, values: dict[str, Any], own_attempts: int | None = None
) -> bool:
    """Change the row if the processor has it, and nobody went on with it; whether it did."""
    if own_attempts is None:
        return _CHANGE.count(connection, {"row": row_id, **values}) == 1
    own = {"row": row_id, "own_attempts": own_attempts}
    return _CHANGE_OWN.count(connection, {**own, **values}) == 1

"""Refunds: objects of their own for a captured payment, all together at most what was captured.

A refund is on disk with its order to the processor in one transaction, like a charge, and ends in
the one that stores what the processor did, with a receipt of the payment that answers it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from server.issuer import Issuer
from server.kinds import Operation, RequestedBy
from server.operations import by_operator, check_order, check_room, find_ordered
from server.payments import (
    Change,
    PaymentRow,
    add_statement,
    give_back,
    holds_statement,
    queue_operation,
)
from server.payments import view as view_payment
from server.processors.port import Approved, Outcome, Refused
from server.schema.orders import refunds
from server.schema.payments import statements
from server.webhook_events import tell_merchant
from twochannel.protocol.errors import ErrorCode, PaymentError, StatementError
from twochannel.protocol.payment import (
    REFUND_FINAL,
    REFUND_INITIAL,
    RefundEvent,
    RefundStatus,
    Status,
    advance_refund,
    check_refund,
)
from twochannel.protocol.statements import Refund

RefundRow = Row[Any]

_FIND = select(refunds).where(
    refunds.c.payment_id == bindparam("payment"), refunds.c.id == bindparam("refund")
)
_ALL = (
    select(refunds)
    .where(refunds.c.payment_id == bindparam("payment"))
    .order_by(refunds.c.created_ms, refunds.c.id)
)
_PROMISED = select(func.coalesce(func.sum(refunds.c.amount_minor), 0)).where(
    refunds.c.payment_id == bindparam("payment"), refunds.c.status != RefundStatus.REFUSED.value
)
_ADD = insert(refunds).returning(refunds)
_CHANGE = update(refunds).where(refunds.c.id == bindparam("refund"))
_DIGEST = select(statements.c.digest).where(statements.c.jti == bindparam("refund"))


@dataclass(frozen=True, slots=True)
class SignedRefund:
    """A refund whose signature holds."""

    refund: Refund
    compact: str
    kid: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The refund as the API shows it, and what is to be announced (None: it was known)."""

    refund: dict[str, object]
    change: Change | None


def accept_refund(
    connection: Connection, payment_id: str, signed: SignedRefund, now_ms: int, issuer: Issuer
) -> Accepted:
    """Take a refund on. Checks, in this order:

    1. the payment is this terminal's (``payment_unknown``);
    2. the same statement again is answered with the refund as it is now, also to a revoked
       terminal;
    3. time (``clock_skew``, ``statement_expired``);
    4. the terminal is revoked, or serves another merchant by now (``device_revoked``);
    5. it names this payment and its request (``chain_broken``);
    6. the payment is captured, and its evidence has room (``payment_state``);
    7. in the currency of the payment (``chain_broken``), with all other refunds that were not
       refused at most what was captured (``amount_exceeded``);
    8. statement ids that were used before (``statement_replayed``);
    9. no other refund of the payment has its reference, but one that was refused
       (``payment_conflict``).
    """
    refund = signed.refund
    row = find_ordered(connection, payment_id, refund, issuer)
    if holds_statement(connection, payment_id, signed.compact):
        return Accepted(view(get_refund(connection, payment_id, refund.jti)), None)
    check_order(connection, row, refund, now_ms, issuer)
    _check_refundable(connection, row, refund)
    add_statement(connection, row.id, refund, signed.kid, signed.compact)
    operator = by_operator(refund, issuer)
    stored = _insert(connection, row, refund, operator=operator, now_ms=now_ms)
    amount_minor = refund.amount.value
    queue_operation(connection, row, Operation.REFUND, amount_minor, now_ms, refund_id=refund.jti)
    return Accepted(view(stored), Change(row, queued=True))


def _check_refundable(connection: Connection, row: PaymentRow, refund: Refund) -> None:
    if Status(row.status) is not Status.CAPTURED:
        detail = f"a payment that is {row.status} has nothing to give back"
        raise PaymentError(ErrorCode.PAYMENT_STATE, detail)
    check_room(connection, row)
    if refund.amount.currency != row.currency:
        raise StatementError(ErrorCode.CHAIN_BROKEN, "the refund has another currency")
    promised_minor = connection.scalar(_PROMISED, {"payment": row.id}) or 0
    check_refund(row.captured_minor, promised_minor, refund.amount.value)


def _insert(
    connection: Connection, row: PaymentRow, refund: Refund, *, operator: bool, now_ms: int
) -> RefundRow:
    values = {
        "id": refund.jti,
        "payment_id": row.id,
        "status": REFUND_INITIAL.value,
        "currency": refund.amount.currency,
        "amount_minor": refund.amount.value,
        "reference": refund.reference,
        "requested_by": (RequestedBy.OPERATOR if operator else RequestedBy.TERMINAL).value,
        "created_ms": now_ms,
    }
    try:
        return connection.execute(_ADD, values).one()
    except IntegrityError:
        detail = f"the payment has a refund {refund.reference} already"
        raise PaymentError(ErrorCode.PAYMENT_CONFLICT, detail) from None


def get_refund(connection: Connection, payment_id: str, refund_id: str) -> RefundRow:
    """Raises PaymentError (``refund_unknown``)."""
    named = {"payment": payment_id, "refund": refund_id}
    row = connection.execute(_FIND, named).one_or_none()
    if row is None:
        raise PaymentError(ErrorCode.REFUND_UNKNOWN)
    return row


def refunds_of(connection: Connection, payment_id: str) -> list[dict[str, object]]:
    """All refunds of a payment, the oldest first."""
    return [view(row) for row in connection.execute(_ALL, {"payment": payment_id})]


def view(row: RefundRow) -> dict[str, object]:
    """A refund as the API shows it (docs/protocol.md, Server)."""
    return {
        "id": row.id,
        "payment": row.payment_id,
        "status": row.status,
        "amount": {"value": row.amount_minor, "currency": row.currency},
        "reference": row.reference,
        "requested_by": row.requested_by,
        "reason": row.reason,
        "created_ms": row.created_ms,
        "settled_ms": row.settled_ms,
        "receipt": row.receipt,
    }


def settled(row: RefundRow) -> bool:
    """Whether the refund has come to its end."""
    return RefundStatus(row.status) in REFUND_FINAL


def lose_refund(connection: Connection, payment: PaymentRow, refund_id: str) -> Change | None:
    """Nobody knows whether it was carried out. None: that was so before."""
    refund = get_refund(connection, payment.id, refund_id)
    if refund.status == RefundStatus.UNKNOWN.value:
        return None
    status = advance_refund(RefundStatus(refund.status), RefundEvent.LOSE)
    connection.execute(_CHANGE, {"refund": refund_id, "status": status.value})
    return Change(payment)


def settle_refund(
    connection: Connection,
    payment: PaymentRow,
    refund_id: str,
    outcome: Outcome,
    now_ms: int,
    issuer: Issuer,
) -> Change:
    """Record what the processor did. Raises PaymentError (``payment_state``)."""
    refund = get_refund(connection, payment.id, refund_id)
    values: dict[str, object] = {"refund": refund_id, "settled_ms": now_ms}
    match outcome:
        case Refused(reason):
            event, change = RefundEvent.REFUSE, Change(payment)
            values |= {"reason": reason}
        case Approved(reference):
            cause = str(connection.scalar(_DIGEST, {"refund": refund_id}))
            event = RefundEvent.SUCCEED
            change = give_back(connection, payment, refund.amount_minor, cause, now_ms, issuer)
            values |= {"processor_reference": reference, "receipt": change.row.receipt}
    status = advance_refund(RefundStatus(refund.status), event)
    connection.execute(_CHANGE, values | {"status": status.value})
    told = tell_merchant(
        connection,
        change.row,
        f"refund.{status}",
        lambda: {
            "payment": view_payment(change.row),
            "refund": view(get_refund(connection, payment.id, refund_id)),
        },
        now_ms,
        issuer.new_id,
    )
    return replace(change, told=told)

"""What may still be done to a payment: capture a hold, cancel. Refunds: ``server.refunds``.

An order is signed by the payment's terminal; cancels and refunds also by the server itself, for its
operator (``cigarjack-server payments``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, func, select

from server.issuer import Issuer
from server.payments import (
    Change,
    PaymentRow,
    add_statement,
    begin_capture,
    begin_void,
    find_payment,
    holds_statement,
    settle,
    statement_of,
    view,
)
from server.registry import check_not_revoked, check_serves
from server.schema.payments import statements
from server.settlement import Ended, check_held, check_hold_lasts
from twochannel.protocol.envelope import check_time
from twochannel.protocol.errors import ErrorCode, PaymentError, StatementError
from twochannel.protocol.limits import MAX_PAYMENT_STATEMENTS
from twochannel.protocol.payment import Event, Status, check_capture
from twochannel.protocol.statements import Cancel, Capture, PaymentRequest, Refund, Role

_HELD: Final = select(func.count()).where(statements.c.payment_id == bindparam("payment"))


@dataclass(frozen=True, slots=True)
class SignedOrder:
    """A capture or cancel whose signature holds."""

    order: Capture | Cancel
    compact: str
    kid: str


@dataclass(frozen=True, slots=True)
class Ordered:
    """The payment as the API shows it, and what is to be announced (None: nothing is new)."""

    payment: dict[str, object]
    change: Change | None


def accept_order(
    connection: Connection, payment_id: str, signed: SignedOrder, now_ms: int, issuer: Issuer
) -> Ordered:
    """Let a capture or cancel take effect. Checks, in this order:

    1. the payment is this terminal's (``payment_unknown``);
    2. the same statement again is answered with the payment as it is now, also to a revoked
       terminal;
    3. time (``clock_skew``, ``statement_expired``);
    4. the terminal is revoked, or serves another merchant by now (``device_revoked``);
    5. it names this payment and its request (``chain_broken``);
    6. the payment's state allows it, nothing else is under way, and its evidence has room
       (``payment_state``);
    7. a capture: in the currency of the payment (``chain_broken``), at most what is held
       (``amount_exceeded``);
    8. statement ids that were used before (``statement_replayed``).
    """
    order = signed.order
    row = find_ordered(connection, payment_id, order, issuer)
    if holds_statement(connection, payment_id, signed.compact):
        return Ordered(view(row), None)
    check_order(connection, row, order, now_ms, issuer)
    take_effect = _capture if isinstance(order, Capture) else _cancel
    change = take_effect(connection, row, signed, now_ms, issuer)
    return Ordered(view(change.row), change)


def find_ordered(
    connection: Connection, payment_id: str, order: Capture | Cancel | Refund, issuer: Issuer
) -> PaymentRow:
    """The payment, if it is for whoever orders to change. Raises PaymentError."""
    row = find_payment(connection, payment_id)
    if row is None or (row.terminal_id != order.iss and not by_operator(order, issuer)):
        raise PaymentError(ErrorCode.PAYMENT_UNKNOWN)
    return row


def by_operator(order: Capture | Cancel | Refund, issuer: Issuer) -> bool:
    """Whether the server itself has signed it. No door takes such a statement."""
    return order.iss == issuer.server_id


def check_order(
    connection: Connection,
    row: PaymentRow,
    order: Capture | Cancel | Refund,
    now_ms: int,
    issuer: Issuer,
) -> None:
    """Time, revocation and links of a new order, whatever it is. Raises CodedError."""
    check_time(order, now_ms // 1000)
    if not by_operator(order, issuer):
        check_not_revoked(connection, Role.TERMINAL, order.iss)
        check_serves(connection, order.iss, row.merchant_id)
    request = statement_of(connection, row.id, PaymentRequest.TYP)
    if order.prev != request.digest or order.sub != row.id:
        raise StatementError(ErrorCode.CHAIN_BROKEN, f"the {order.TYP} names another request")


def check_room(connection: Connection, row: PaymentRow) -> None:
    """The evidence has room for an order, and for a receipt to each. Raises PaymentError."""
    if 2 * (connection.scalar(_HELD, {"payment": row.id}) or 0) + 2 > MAX_PAYMENT_STATEMENTS:
        raise PaymentError(ErrorCode.PAYMENT_STATE, "the payment has too many statements already")


def _capture(
    connection: Connection, row: PaymentRow, signed: SignedOrder, now_ms: int, _issuer: Issuer
) -> Change:
    capture = signed.order
    if not isinstance(capture, Capture):
        raise TypeError("only captures have an amount")
    check_held(Status(row.status), row.operation)
    check_hold_lasts(row.hold_expires_ms, now_ms)
    check_room(connection, row)
    if capture.amount.currency != row.currency:
        raise StatementError(ErrorCode.CHAIN_BROKEN, "the capture has another currency")
    check_capture(row.authorized_minor, capture.amount.value)
    add_statement(connection, row.id, capture, signed.kid, signed.compact)
    return begin_capture(connection, row, capture.amount.value, now_ms)


def _cancel(
    connection: Connection, row: PaymentRow, signed: SignedOrder, now_ms: int, issuer: Issuer
) -> Change:
    ended = Ended.BY_OPERATOR if by_operator(signed.order, issuer) else Ended.BY_TERMINAL
    if Status(row.status) is not Status.PENDING:
        check_held(Status(row.status), row.operation)
        check_room(connection, row)
        add_statement(connection, row.id, signed.order, signed.kid, signed.compact)
        return begin_void(connection, row, ended, now_ms)
    add_statement(connection, row.id, signed.order, signed.kid, signed.compact)
    return settle(connection, row, Event.CANCEL, now_ms, issuer, reason=ended.value)

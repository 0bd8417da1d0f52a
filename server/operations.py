"""What a terminal may still do with its payment: capture a hold, or cancel."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from server.issuer import Issuer
from server.payments import (
    Change,
    PaymentRow,
    add_statement,
    begin_operation,
    find_payment,
    holds_statement,
    settle,
    statement_of,
    view,
)
from server.registry import check_not_revoked
from server.schema import Operation
from server.settlement import check_held
from twochannel.protocol.envelope import check_time
from twochannel.protocol.errors import ErrorCode, PaymentError, StatementError
from twochannel.protocol.payment import Event, Status, check_capture
from twochannel.protocol.statements import Cancel, Capture, PaymentRequest, Role


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
    2. the same statement again is answered with the payment as it is now;
    3. time (``clock_skew``, ``statement_expired``);
    4. the terminal is revoked (``device_revoked``);
    5. it names this payment and its request (``chain_broken``);
    6. the payment's state allows it, and nothing else is under way (``payment_state``);
    7. a capture: in the currency of the payment (``chain_broken``), at most what is held
       (``amount_exceeded``);
    8. statement ids that were used before (``statement_replayed``).
    """
    order = signed.order
    row = find_payment(connection, payment_id)
    if row is None or row.terminal_id != order.iss:
        raise PaymentError(ErrorCode.PAYMENT_UNKNOWN)
    if holds_statement(connection, payment_id, signed.compact):
        return Ordered(view(row), None)
    check_time(order, now_ms // 1000)
    check_not_revoked(connection, Role.TERMINAL, order.iss)
    _check_links(connection, row, order)
    take_effect = _capture if isinstance(order, Capture) else _cancel
    change = take_effect(connection, row, signed, now_ms, issuer)
    return Ordered(view(change.row), change)


def _check_links(connection: Connection, row: PaymentRow, order: Capture | Cancel) -> None:
    request = statement_of(connection, row.id, PaymentRequest.TYP)
    if order.prev != request.digest or order.sub != row.id:
        raise StatementError(ErrorCode.CHAIN_BROKEN, f"the {order.TYP} names another request")


def _capture(
    connection: Connection, row: PaymentRow, signed: SignedOrder, now_ms: int, _issuer: Issuer
) -> Change:
    capture = signed.order
    if not isinstance(capture, Capture):
        raise TypeError("only captures have an amount")
    check_held(Status(row.status), row.operation, row.hold_expires_ms, now_ms)
    if capture.amount.currency != row.currency:
        raise StatementError(ErrorCode.CHAIN_BROKEN, "the capture has another currency")
    check_capture(row.authorized_minor, capture.amount.value)
    add_statement(connection, row.id, capture, signed.kid, signed.compact)
    return begin_operation(connection, row, Operation.CAPTURE, capture.amount.value, now_ms)


def _cancel(
    connection: Connection, row: PaymentRow, signed: SignedOrder, now_ms: int, issuer: Issuer
) -> Change:
    if Status(row.status) is not Status.PENDING:
        check_held(Status(row.status), row.operation, row.hold_expires_ms, now_ms)
        add_statement(connection, row.id, signed.order, signed.kid, signed.compact)
        return begin_operation(connection, row, Operation.VOID, row.authorized_minor, now_ms)
    add_statement(connection, row.id, signed.order, signed.kid, signed.compact)
    return settle(connection, row, Event.CANCEL, now_ms, issuer, reason="canceled_by_terminal")

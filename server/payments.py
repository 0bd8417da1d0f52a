"""A payment in the database: its statements, its steps, its receipt, its place in the outbox.

Every function is a part of a transaction (``server.store``): it takes the connection, and time and
issuer as arguments. ``settle`` is the only function that changes a payment's status: it asks the
transition table, keeps the history, and where the new state calls for it (final, or authorized)
signs and stores the receipt. ``begin_capture``, ``begin_void`` and ``end_operation`` do so for what
is under way on a hold, ``give_back`` for a refund (``server.refunds``). All return a ``Change``;
announce it once the transaction is committed (``server.announcement``).
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from server.issuer import Issuer
from server.kinds import Operation, PhoneEventKind
from server.prepared import AnyRow, Prepared
from server.schema.notices import phone_events
from server.schema.orders import outbox
from server.schema.payments import challenges, payment_events, payments, statements
from server.settlement import Ended, Figures, causes, has_receipt
from server.webhook_events import tell_merchant
from twochannel.protocol.envelope import Statement, digest, sign
from twochannel.protocol.errors import ErrorCode, PaymentError, StatementError
from twochannel.protocol.limits import HOLD_LIFETIME_S
from twochannel.protocol.payment import CaptureMode, Event, Status, advance
from twochannel.protocol.statements import Challenge, Receipt

PaymentRow = AnyRow

_FIND = Prepared(select(payments).where(payments.c.id == bindparam("payment")))
_CHANGE = Prepared(
    update(payments).where(payments.c.id == bindparam("payment")).returning(payments)
)
_STATEMENT = Prepared(
    select(statements.c.compact, statements.c.digest)
    .where(statements.c.payment_id == bindparam("payment"), statements.c.typ == bindparam("typ"))
    .order_by(statements.c.position.desc())
    .limit(1)
)
_HELD = Prepared(
    select(statements.c.position).where(
        statements.c.digest == bindparam("digest"),
        statements.c.payment_id == bindparam("payment"),
    )
)
# Inline: nobody asks what number a row was given, and reading it back takes as long as writing it.
_ADD_STATEMENT = Prepared(
    insert(statements)
    .values(
        payment_id=bindparam("payment"),
        position=select(func.coalesce(func.max(statements.c.position), 0) + 1)
        .where(statements.c.payment_id == bindparam("payment"))
        .scalar_subquery(),
    )
    .inline()
)
_ADD_EVENT = Prepared(
    insert(payment_events)
    .values(
        payment_id=bindparam("payment"),
        seq=select(func.coalesce(func.max(payment_events.c.seq), 0) + 1)
        .where(payment_events.c.payment_id == bindparam("payment"))
        .scalar_subquery(),
    )
    .inline()
)
_TURNS = Prepared(
    select(func.count()).where(
        outbox.c.payment_id == bindparam("payment"),
        outbox.c.operation == bindparam("operation"),
    )
)
_QUEUE = Prepared(insert(outbox).inline())
_TELL = Prepared(insert(phone_events).inline())
_KEEP_CHALLENGE = Prepared(insert(challenges).inline())
_CHALLENGE = Prepared(
    select(challenges).where(
        challenges.c.payment_id == bindparam("payment"), challenges.c.phone_id == bindparam("phone")
    )
)


@dataclass(frozen=True, slots=True)
class Change:
    """What a transaction made of a payment, to be announced once it is committed.

    ``row``: the payment as it is then. ``queued``: whether the outbox has something new.
    ``told``: whether there is something to tell its merchant (``server.webhook_events``).
    """

    row: PaymentRow
    queued: bool = False
    told: bool = False


def find_payment(connection: Connection, payment_id: str) -> PaymentRow | None:
    return _FIND.one_or_none(connection, {"payment": payment_id})


def get_payment(connection: Connection, payment_id: str) -> PaymentRow:
    """The row of a payment. Raises PaymentError (``payment_unknown``)."""
    row = find_payment(connection, payment_id)
    if row is None:
        raise PaymentError(ErrorCode.PAYMENT_UNKNOWN)
    return row


def asked_phones(row: PaymentRow) -> tuple[str, ...]:
    """Ids of the phones that were asked, in one order: the owner's, and members."""
    return tuple(row.asked.split(",")) if row.asked else (row.phone_id,)


def keep_challenge(connection: Connection, payment_id: str, phone_id: str, compact: str) -> None:
    """What one of several phones is asked, until one of them has decided."""
    values = {"payment_id": payment_id, "phone_id": phone_id, "compact": compact}
    _KEEP_CHALLENGE.count(connection, values)


def challenge_of(connection: Connection, row: PaymentRow, phone_id: str) -> str:
    """What a phone of the payment was asked. Raises PaymentError (``payment_unknown``)."""
    if row.asked is None and phone_id == row.phone_id:
        return str(statement_of(connection, row.id, Challenge.TYP).compact)
    asked = {"payment": row.id, "phone": phone_id}
    found = _CHALLENGE.one_or_none(connection, asked) if row.asked else None
    if found is None:
        raise PaymentError(ErrorCode.PAYMENT_UNKNOWN)
    return str(found.compact)


def view(row: PaymentRow) -> dict[str, object]:
    """A payment as the API shows it (docs/protocol.md, Server)."""
    return {
        "id": row.id,
        "status": row.status,
        "amount": {"value": row.amount_minor, "currency": row.currency},
        "capture": row.capture,
        "authorized_minor": row.authorized_minor,
        "captured_minor": row.captured_minor,
        "refunded_minor": row.refunded_minor,
        "merchant": {"id": row.merchant_id, "name": row.merchant_name},
        "lane": row.lane,
        "reference": row.reference,
        "description": row.description,
        "match_code": row.match_code,
        "operation": row.operation,
        "reason": row.reason,
        "created_ms": row.created_ms,
        "settled_ms": row.settled_ms,
        "expires_s": row.expires_s,
        "receipt": row.receipt,
    }


def statement_of(connection: Connection, payment_id: str, *types: str) -> AnyRow:
    """The payment's newest statement of the first of ``types`` that it has: compact, digest.

    One that must be there and is not is a RuntimeError.
    """
    for typ in types:
        asked = {"payment": payment_id, "typ": typ}
        row = _STATEMENT.one_or_none(connection, asked)
        if row is not None:
            return row
    raise RuntimeError(f"payment {payment_id} has no statement of the types {types}")


def holds_statement(connection: Connection, payment_id: str, compact: str) -> bool:
    """Whether the payment was given exactly this statement before."""
    found = _HELD.scalar(connection, {"payment": payment_id, "digest": digest(compact)})
    return found is not None


def add_statement(
    connection: Connection, payment_id: str, statement: Statement, kid: str, compact: str
) -> None:
    """Append a verified statement. Raises StatementError if its ``jti`` was used before."""
    values = {
        "payment": payment_id,
        "typ": statement.TYP,
        "kid": kid,
        "jti": getattr(statement, "jti", None),
        "digest": digest(compact),
        "compact": compact,
    }
    try:
        _ADD_STATEMENT.count(connection, values)
    except IntegrityError:
        raise StatementError(ErrorCode.STATEMENT_REPLAYED) from None


def queue_operation(
    connection: Connection,
    row: PaymentRow,
    operation: Operation,
    amount_minor: int,
    at_ms: int,
    *,
    refund_id: str | None = None,
) -> None:
    """Put an operation in the outbox. Raises PaymentError.

    Again only after a refusal; a charge once, and one order for each ``refund_id``.
    """
    asked = {"payment": row.id, "operation": operation.value}
    turn = 1 + _TURNS.scalar(connection, asked)
    values = {
        "payment_id": row.id,
        "operation": operation.value,
        "turn": turn,
        "refund_id": refund_id,
        "amount_minor": amount_minor,
        "currency": row.currency,
        "idempotency_key": f"{row.id}:{operation.value}:{turn}",
        "next_at_ms": at_ms,
        "created_ms": at_ms,
    }
    try:
        _QUEUE.count(connection, values)
    except IntegrityError:
        detail = f"the {operation} was asked for before"
        raise PaymentError(ErrorCode.PAYMENT_STATE, detail) from None


def begin_capture(connection: Connection, row: PaymentRow, amount_minor: int, at_ms: int) -> Change:
    """Queue the capture of a hold and mark it as under way."""
    queue_operation(connection, row, Operation.CAPTURE, amount_minor, at_ms)
    values: dict[str, object] = {"operation": Operation.CAPTURE.value, "reason": None}
    return Change(_change(connection, row.id, values, at_ms), queued=True)


def begin_void(connection: Connection, row: PaymentRow, ended: Ended, at_ms: int) -> Change:
    """Queue the release of a hold and mark it as under way, and who wants it."""
    queue_operation(connection, row, Operation.VOID, row.authorized_minor, at_ms)
    values: dict[str, object] = {"operation": Operation.VOID.value, "reason": ended.value}
    return Change(_change(connection, row.id, values, at_ms), queued=True)


def end_operation(connection: Connection, row: PaymentRow, at_ms: int, reason: str) -> Change:
    """The processor refused a capture or void: the payment stays held, and says why."""
    return Change(_change(connection, row.id, {"operation": None, "reason": reason}, at_ms))


def tell_phone(
    connection: Connection, phone_id: str, payment_id: str, kind: PhoneEventKind, at_ms: int
) -> None:
    values = {"phone_id": phone_id, "payment_id": payment_id, "kind": kind.value, "at_ms": at_ms}
    _TELL.count(connection, values)


def settle(
    connection: Connection,
    row: PaymentRow,
    event: Event,
    at_ms: int,
    issuer: Issuer,
    *,
    amount_minor: int | None = None,
    processor_reference: str | None = None,
    reason: str | None = None,
    payment_method_id: str | None = None,
    phone_id: str | None = None,
) -> Change:
    """Apply ``event``; keep its history; where the new state calls for it, issue the receipt.

    ``row``: the payment as it is now. ``amount_minor``: what the processor took or holds, None
    for all that was asked for. ``phone_id``: who decided, of several. Raises PaymentError:
    ``payment_state``, ``amount_exceeded``.
    """
    before = Status(row.status)
    after = advance(before, event, CaptureMode(row.capture))
    figures = Figures(row.amount_minor, row.authorized_minor, row.captured_minor).after(
        before, event, amount_minor
    )
    values: dict[str, object] = {
        "status": after.value,
        "authorized_minor": figures.authorized_minor,
        "captured_minor": figures.captured_minor,
        "refunded_minor": row.refunded_minor,
        "processor_reference": processor_reference or row.processor_reference,
        "payment_method_id": payment_method_id or row.payment_method_id,
        "operation": None,
        "reason": reason,
    }
    if phone_id is not None:
        values["phone_id"] = phone_id
    if after is Status.AUTHORIZED:
        values["hold_expires_ms"] = at_ms + HOLD_LIFETIME_S * 1000
    if has_receipt(after):
        cause = statement_of(connection, row.id, *causes(before, event, reason)).digest
        receipt = _issue_receipt(connection, row, values, cause, at_ms, issuer)
        values |= {"receipt": receipt, "settled_ms": at_ms}
    step = {
        "payment": row.id,
        "from_status": before.value,
        "event": event.value,
        "to_status": after.value,
        "at_ms": at_ms,
    }
    _ADD_EVENT.count(connection, step)
    changed = _change(connection, row.id, values, at_ms)
    return Change(changed, told=has_receipt(after) and _tell(connection, changed, at_ms, issuer))


def _tell(connection: Connection, row: PaymentRow, at_ms: int, issuer: Issuer) -> bool:
    """Tell its merchant of a payment that has come to where a receipt tells of it."""
    kind = f"payment.{row.status}"
    return tell_merchant(
        connection, row, kind, lambda: {"payment": view(row)}, at_ms, issuer.new_id
    )


def give_back(
    connection: Connection,
    row: PaymentRow,
    amount_minor: int,
    cause: str,
    at_ms: int,
    issuer: Issuer,
) -> Change:
    """A refund was carried out: note it, and issue the receipt for it. ``cause``: its digest."""
    values: dict[str, object] = {
        "status": row.status,
        "authorized_minor": row.authorized_minor,
        "captured_minor": row.captured_minor,
        "refunded_minor": row.refunded_minor + amount_minor,
        "processor_reference": row.processor_reference,
    }
    values["receipt"] = _issue_receipt(connection, row, values, cause, at_ms, issuer)
    return Change(_change(connection, row.id, values, at_ms))


def _issue_receipt(
    connection: Connection,
    row: PaymentRow,
    values: dict[str, object],
    cause: str,
    at_ms: int,
    issuer: Issuer,
) -> str:
    receipt = _receipt(row, values, cause, at_ms, issuer)
    # Once: it may be another one a moment later.
    signer = issuer.signer
    compact = sign(receipt, signer)
    add_statement(connection, row.id, receipt, signer.key.kid, compact)
    return compact


def _receipt(
    row: PaymentRow, values: dict[str, object], cause: str, at_ms: int, issuer: Issuer
) -> Receipt:
    """The receipt for a payment ``row`` that takes on ``values``. ``cause``: a digest."""
    return Receipt.from_claims(
        {
            "iss": issuer.server_id,
            "aud": row.terminal_id,
            "jti": issuer.new_id(),
            "sub": row.id,
            "iat": at_ms // 1000,
            "prev": cause,
            "status": values["status"],
            "currency": row.currency,
            "authorized_minor": values["authorized_minor"],
            "captured_minor": values["captured_minor"],
            "refunded_minor": values["refunded_minor"],
            "processor_reference": values["processor_reference"],
        }
    )


def _change(
    connection: Connection, payment_id: str, values: dict[str, object], at_ms: int
) -> PaymentRow:
    """Change the payment and tell its phones; the new row."""
    row = _CHANGE.one(connection, {"payment": payment_id, **values})
    for phone_id in asked_phones(row):
        tell_phone(connection, phone_id, row.id, PhoneEventKind.PAYMENT, at_ms)
    return row

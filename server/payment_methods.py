"""Payment methods of phones: registering, choosing and removing them. Their tokens stay inside.

Every function is a part of a transaction (``server.store``); signatures were verified before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from server.couplings import coupled_jacks
from server.instructions import Signed, admit, repeated
from server.registry import Enrolled, check_not_revoked
from server.schema.orders import OPEN_ORDER, outbox
from server.schema.parties import payment_methods
from server.schema.payments import payments
from twochannel.protocol.envelope import check_time, digest
from twochannel.protocol.errors import CodedError, ErrorCode, PaymentError
from twochannel.protocol.instructions import MethodDefault, MethodRemoval
from twochannel.protocol.statements import Method, Role

S = TypeVar("S", MethodDefault, MethodRemoval)

_FIND: Final = select(payment_methods).where(payment_methods.c.id == bindparam("method"))
#: The default first: the one that was chosen last, else the one that was there first.
_OF_PHONE: Final = (
    select(payment_methods)
    .where(payment_methods.c.phone_id == bindparam("phone"), payment_methods.c.removed_ms.is_(None))
    .order_by(
        payment_methods.c.chosen_ms.desc().nulls_last(),
        payment_methods.c.created_ms,
        payment_methods.c.id,
    )
)
_CHANGE: Final = update(payment_methods).where(payment_methods.c.id == bindparam("method"))
_OPEN: Final = (
    select(outbox.c.id)
    .join(payments, payments.c.id == outbox.c.payment_id)
    .where(OPEN_ORDER, payments.c.payment_method_id == bindparam("method"))
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Removed:
    """``forget``: the token that the processor may forget now; None: it is still needed, or was
    forgotten before."""

    answer: dict[str, object]
    forget: str | None


def known_method(
    connection: Connection, method: Method, compact: str, now_ms: int
) -> Enrolled | None:
    """The payment method of this very statement, or None: it may be registered.

    Checks: revoked phone; the same again; time; id used before.
    """
    check_not_revoked(connection, Role.PHONE, method.iss)
    known = connection.execute(_FIND, {"method": method.jti}).one_or_none()
    if known is not None and known.digest == digest(compact):
        return Enrolled(_view(connection, known), created=False)
    check_time(method, now_ms // 1000)
    if known is not None:
        raise CodedError(ErrorCode.STATEMENT_REPLAYED)
    return None


def add_payment_method(
    connection: Connection, method: Method, compact: str, token: str, now_ms: int
) -> Enrolled:
    """Register a payment method, unless it is known. ``token``: what to charge it by."""
    known = known_method(connection, method, compact, now_ms)
    if known is not None:
        return known
    connection.execute(
        insert(payment_methods).values(
            id=method.jti,
            phone_id=method.iss,
            token=token,
            label=method.label,
            digest=digest(compact),
            compact=compact,
            created_ms=now_ms,
        )
    )
    row = connection.execute(_FIND, {"method": method.jti}).one()
    return Enrolled(_view(connection, row), created=True)


def list_payment_methods(connection: Connection, phone_id: str) -> list[dict[str, object]]:
    """Those that were not removed, the default first."""
    rows = connection.execute(_OF_PHONE, {"phone": phone_id}).all()
    coupled = coupled_jacks(connection, phone_id)
    return [
        _shown(row, coupled.get(row.id, []), default=number == 0) for number, row in enumerate(rows)
    ]


def show_method(connection: Connection, method: str) -> dict[str, object]:
    """One that is there."""
    return _view(connection, connection.execute(_FIND, {"method": method}).one())


def choose_default(
    connection: Connection, signed: Signed[MethodDefault], now_ms: int
) -> dict[str, object]:
    """Let the owner's choice take effect. Checks, in this order:

    1. the phone is revoked (``device_revoked``);
    2. the same statement again is answered with the method as it is now;
    3. time (``clock_skew``, ``statement_expired``);
    4. the method is this phone's and was not removed (``payment_method_unknown``);
    5. a statement id that was used before (``statement_replayed``).
    """
    method = signed.statement.sub
    if not repeated(connection, signed):
        _admit(connection, signed, now_ms)
        connection.execute(_CHANGE, {"method": method, "chosen_ms": now_ms})
    return show_method(connection, method)


def remove_method(connection: Connection, signed: Signed[MethodRemoval], now_ms: int) -> Removed:
    """Let nothing be charged to a method any more. Checks as ``choose_default``.

    What was confirmed before is still charged, captured or given back.
    """
    method = signed.statement.sub
    fresh = not repeated(connection, signed)
    if fresh:
        _admit(connection, signed, now_ms)
        connection.execute(_CHANGE, {"method": method, "removed_ms": now_ms})
    row = connection.execute(_FIND, {"method": method}).one()
    needed = connection.execute(_OPEN, {"method": method}).first() is not None
    return Removed(_view(connection, row), row.token if fresh and not needed else None)


def _admit(connection: Connection, signed: Signed[S], now_ms: int) -> None:
    def check() -> None:
        row = connection.execute(_FIND, {"method": signed.statement.sub}).one_or_none()
        if row is None or row.phone_id != signed.statement.iss or row.removed_ms is not None:
            raise PaymentError(ErrorCode.PAYMENT_METHOD_UNKNOWN)

    admit(connection, signed, check, now_ms)


def _view(connection: Connection, row: Row[Any]) -> dict[str, object]:
    first = connection.execute(_OF_PHONE.limit(1), {"phone": row.phone_id}).one_or_none()
    coupled = coupled_jacks(connection, row.phone_id).get(row.id, [])
    return _shown(row, coupled, default=first is not None and first.id == row.id)


def _shown(row: Row[Any], coupled: list[str], *, default: bool) -> dict[str, object]:
    return {
        "id": row.id,
        "label": row.label,
        "default": default,
        "jacks": coupled,
        "created_ms": row.created_ms,
        "removed_ms": row.removed_ms,
    }
